"""Reading of a request's body, which is counted as it comes."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import Request

from clip_image_encoder.integrations.server.refusal import RefusedError

__all__ = ["read_body"]


async def read_body(request: Request, *, most: int, take: Callable[[int], None]) -> bytes:
    """Return the body of a request.

    Args:
        request: Request whose body has not been read.
        most: Largest allowed size, in bytes; a larger body is not read further.
        take: Function that is called with the size of each part in bytes, and may refuse it.

    Raises:
        RefusedError: The body is too large.
    """
    too_large = RefusedError(413, f"the body has more than {most:,} bytes", code="request_too_large")
    # A client that says so beforehand is spared the sending. What it says is not believed: the parts are counted.
    if int(request.headers.get("content-length", 0)) > most:
        raise too_large
    body = bytearray()
    async for part in request.stream():
        if len(body) + len(part) > most:
            raise too_large
        take(len(part))
        body += part
    return bytes(body)
