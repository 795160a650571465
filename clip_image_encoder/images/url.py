"""Fetching of an http(s) URL, with its redirects, within the time of the policy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from clip_image_encoder.errors import ImageError, ImageFetchError
from clip_image_encoder.images.url_policy import Target, UrlPolicy, check_http_client

if TYPE_CHECKING:
    from clip_image_encoder.images.download import Moved

__all__ = ["read_url"]


def read_url(url: str, *, policy: UrlPolicy, max_bytes: int) -> tuple[bytes, str]:
    """Fetch a URL, and return the body of the response and a description of the URL.

    Args:
        url: URL that begins with http:// or https://, without user and password.
        policy: Hosts that may be contacted, and how long to wait for them.
        max_bytes: Largest allowed size of the body, in bytes; it is not read further.

    Raises:
        ImageFetchError: The URL or a redirect is refused, or a server did not deliver.
        ImageTooLargeError: The body has more than `max_bytes` bytes.
        MissingExtraError: The HTTP client is not installed, though it was where the policy was pickled.
    """
    check_http_client()
    from clip_image_encoder.images.download import fetch

    ends = time.monotonic() + policy.total_timeout
    target = Target.of(url)
    source = target.source
    try:
        for _ in range(policy.max_redirects + 1):
            answer = fetch(target, policy=policy, max_bytes=max_bytes, ends=ends)
            if isinstance(answer, bytes):
                return answer, source
            target = _follow(target, answer)
    except ImageError as error:
        if error.source == source:
            raise
        # The error names the first URL, which is the one that the caller knows.
        reason = f"it redirects to {error.source}: {error.reason}"
        raise type(error)(reason, source=source) from error.__cause__
    raise ImageFetchError(f"more than max_redirects={policy.max_redirects} redirects", source=source)


def _follow(target: Target, moved: Moved) -> Target:
    try:
        location = urljoin(target.url, moved.location.decode())
    except ValueError:  # its message quotes the location, which may hold a secret
        location = ""
    if not moved.location or not location:
        raise ImageFetchError("its server redirects without a valid location", source=target.source)
    there = Target.of(location)
    if target.scheme == "https" and there.scheme == "http":
        raise ImageFetchError("a redirect from https to http is not followed", source=there.source)
    return there
