"""http(s) URLs: from the first to where its redirects lead, in time."""

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
    """Return what a URL leads to and its description.

    Args:
        url: http:// or https://, without user and password.
        policy: what may be asked, and how long it may take.
        max_bytes: of the body, at most; it is not read further.

    Raises:
        ImageFetchError: the URL or a redirect is refused, or its server did not deliver.
        ImageTooLargeError: there are more than `max_bytes`.
        MissingExtraError: the policy comes from another process, and this one has no HTTP client.
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
        # The first URL is the one that its sender knows.
        reason = f"it redirects to {error.source}: {error.reason}"
        raise type(error)(reason, source=source) from error.__cause__
    raise ImageFetchError(f"more than max_redirects={policy.max_redirects} redirects", source=source)


def _follow(target: Target, moved: Moved) -> Target:
    try:
        location = urljoin(target.url, moved.location.decode())
    except ValueError:  # which quotes the location
        location = ""
    if not moved.location or not location:
        raise ImageFetchError("its server redirects to nowhere", source=target.source)
    there = Target.of(location)
    if target.scheme == "https" and there.scheme == "http":
        raise ImageFetchError("a redirect from https to http is not followed", source=there.source)
    return there
