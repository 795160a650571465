"""Errors as the server answers them: a status, and OpenAI's JSON with message, type, param and code."""

from __future__ import annotations

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from clip_image_encoder import (
    ClosedError,
    CorruptImageError,
    ImageError,
    ImageFetchError,
    ImageTooLargeError,
    QueueFullError,
    UnsupportedImageError,
)

__all__ = ["RefusedError", "refusal_of", "refused_image"]

_CLIENT_LEFT = 499
"""Status that nginx writes to its log; the metrics have it, and no client gets it."""

_CODES: dict[type[ImageError], str] = {
    CorruptImageError: "image_parse_error",
    ImageFetchError: "invalid_image_url",
    ImageTooLargeError: "image_too_large",
    UnsupportedImageError: "invalid_image_format",
}


class RefusedError(Exception):
    """An answer that is an error.

    Args:
        status: Status of HTTP.
        message: Sentence that says what is wrong.
        kind: OpenAI's type of the error.
        param: Place in the request, such as "input[3]"; None means the request as a whole.
        code: Word for programs, such as "model_not_found"; None if the type says all.
        retry_after: Seconds after which the client may try again; None sends no such header.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {"message": message, "type": kind, "param": param, "code": code}
        self.retry_after = retry_after

    def response(self) -> JSONResponse:
        """Return the answer in OpenAI's shape."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return JSONResponse({"error": self.error}, self.status, headers)


def refused_image(error: ImageError, place: str) -> RefusedError:
    """Return the answer to a request with an image that can't be read.

    Args:
        error: Error of the image.
        place: Place of the image in the request, such as "input[3]".
    """
    return RefusedError(400, f"{place}: {error.reason}", param=place, code=_CODES.get(type(error), "invalid_image"))


def refusal_of(error: Exception, *, retry_after: int) -> RefusedError:
    """Return the answer to any error of a request; what went wrong inside stays in the server's log.

    Args:
        error: Error that the request has raised.
        retry_after: Seconds after which a client may try again if the server is full.
    """
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, HTTPException):  # no such path, or no such method
        return RefusedError(error.status_code, str(error.detail))
    if isinstance(error, ClientDisconnect):
        return RefusedError(_CLIENT_LEFT, "the client has gone")
    if isinstance(error, QueueFullError):
        return RefusedError(
            429, str(error), kind="rate_limit_error", code="rate_limit_exceeded", retry_after=retry_after
        )
    if isinstance(error, ClosedError):
        return RefusedError(503, "the server is starting or ending", kind="server_error", code="not_ready")
    return RefusedError(500, "the server failed; its log has the reason", kind="server_error")
