"""What one input may cost: checked before the memory is spent."""

from __future__ import annotations

from clip_image_encoder.errors import ImageTooLargeError, UnsupportedImageError

__all__ = ["check_bytes", "check_pixels"]


def check_bytes(count: int, *, max_bytes: int, source: str) -> None:
    """Check the size of encoded data.

    Raises:
        ImageTooLargeError: there are more than `max_bytes` bytes.
    """
    if count > max_bytes:
        raise ImageTooLargeError(f"more than max_bytes={max_bytes:,} bytes", source=source)


def check_pixels(width: int, height: int, *, max_pixels: int, source: str) -> None:
    """Check the size of a picture, as its header or shape tells it.

    Raises:
        ImageTooLargeError: there are more than `max_pixels` pixels.
        UnsupportedImageError: there is no pixel.
    """
    if width < 1 or height < 1:
        raise UnsupportedImageError("a picture needs at least one pixel", source=source)
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{width} x {height} pixels are more than max_pixels={max_pixels:,}; scale the picture down", source=source
        )
