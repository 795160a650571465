"""Short descriptions of inputs for error messages, without payload, credentials and control characters."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["describe_array", "describe_bytes", "describe_data_uri", "describe_pil", "describe_url", "short_text"]

_LONGEST = 120

# The part of a data: URI that is shown; the rest before the comma may be payload.
_MEDIA_TYPE = re.compile(r"data:([a-z]{1,16}/[a-z0-9.+-]{1,40})[;,]", re.IGNORECASE)


def short_text(text: str) -> str:
    r"""Return the text on one line of at most 120 characters, shortened in the middle.

    Example:
        >>> short_text("holiday\n.jpg")
        'holiday\\n.jpg'
    """
    # Shortened before escaping, too, so that megabytes of text are not escaped.
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in _without_middle(text)
    )
    return _without_middle(shown) or "(empty)"


def describe_bytes(count: int) -> str:
    """Return a description of encoded bytes by their number, such as `bytes (1,234 bytes)`."""
    return f"bytes ({count:,} bytes)"


def describe_data_uri(uri: str) -> str:
    """Return a description of a data: URI, such as `data URI (image/png)`."""
    media_type = _MEDIA_TYPE.match(uri)
    return f"data URI ({media_type[1]})" if media_type else "data URI"


def describe_url(url: str) -> str:
    """Return scheme, host and path of a URL. User, password, query and fragment are left out: they may be secret."""
    scheme = url.partition(":")[0].lower()
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return f"{scheme} URL"
    # An @ after the host may mean that a slash in a password has split it in two.
    if not host or "@" in url.replace(parts.netloc, "", 1):
        return f"{scheme} URL"
    return short_text(f"{scheme}://{host}{parts.path}")


def describe_pil(image: Image.Image) -> str:
    """Return a description of a PIL image, such as `PIL image (RGB 640x480)`."""
    return f"PIL image ({image.mode} {image.width}x{image.height})"


def describe_array(array: NDArray[np.generic]) -> str:
    """Return a description of an array, such as `array (224, 224, 3) uint8`."""
    return short_text(f"array {array.shape} {array.dtype}")


def _without_middle(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    half = (_LONGEST - 3) // 2
    return f"{text[:half]}...{text[-half:]}"
