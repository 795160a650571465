"""What one input may cost: checked before the memory or the time is spent."""

from __future__ import annotations

from clip_image_encoder.errors import ImageTooLargeError, UnsupportedImageError

__all__ = ["check_bytes", "check_parts", "check_pixels"]


def check_bytes(count: int, *, max_bytes: int, source: str) -> None:
    """Check the size of encoded data.

    Raises:
        ImageTooLargeError: there are more than `max_bytes` bytes.
    """
    if count > max_bytes:
        raise ImageTooLargeError(f"more than max_bytes={max_bytes:,} bytes", source=source)


def check_pixels(width: int, height: int, *, max_pixels: int, source: str, weight: float = 1.0) -> None:
    """Check the size of an image, as its header or shape tells it.

    Args:
        width: in pixels.
        height: in pixels.
        max_pixels: number of ordinary pixels allowed.
        source: the image in a few words.
        weight: what a pixel of this format and kind costs, in ordinary ones. An ordinary pixel takes
            8 bytes while it is decoded and turned, and some 10 ns.

    Raises:
        ImageTooLargeError: there are more than `max_pixels` pixels, or so many that they cost more.
        UnsupportedImageError: there is no pixel.
    """
    if width < 1 or height < 1:
        raise UnsupportedImageError("an image needs at least one pixel", source=source)
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{width} x {height} pixels are more than max_pixels={max_pixels:,}; scale the image down", source=source
        )
    if width * height * weight > max_pixels:
        raise ImageTooLargeError(
            f"{width} x {height} pixels, written as they are, cost as much as {int(width * height * weight):,} "
            f"ordinary ones, more than max_pixels={max_pixels:,}; save the image as a baseline JPEG or a PNG",
            source=source,
        )


def check_parts(count: int, *, most: int, parts: str, source: str) -> None:
    """Check how many parts a file is cut into, each of which takes time however small it is.

    Raises:
        ImageTooLargeError: there are more than `most`.
    """
    if count > most:
        raise ImageTooLargeError(f"more than {most:,} {parts}; save the image anew", source=source)
