"""Limits of what one input may cost, checked before the memory or the time is spent."""

from __future__ import annotations

from clip_image_encoder.errors import ImageTooLargeError, UnsupportedImageError

__all__ = ["check_bytes", "check_parts", "check_pixels"]


def check_bytes(count: int, *, max_bytes: int, source: str) -> None:
    """Check the size of encoded data.

    Raises:
        ImageTooLargeError: The data has more than `max_bytes` bytes.
    """
    if count > max_bytes:
        raise ImageTooLargeError(f"more than max_bytes={max_bytes:,} bytes", source=source)


def check_pixels(width: int, height: int, *, max_pixels: int, source: str, weight: float = 1.0) -> None:
    """Check the size of an image, which its header or its shape tells before it is decoded.

    Args:
        width: Width in pixels.
        height: Height in pixels.
        max_pixels: Largest allowed number of ordinary pixels.
        source: Short description of the image, for error messages.
        weight: Cost of a pixel of this format, in ordinary pixels. An ordinary pixel takes 8 bytes and
            about 10 ns while it is decoded and turned.

    Raises:
        ImageTooLargeError: The image has more than `max_pixels` pixels, or costs as much as more would.
        UnsupportedImageError: The image has no pixel.
    """
    if width < 1 or height < 1:
        raise UnsupportedImageError("an image needs at least one pixel", source=source)
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{width} x {height} pixels are more than max_pixels={max_pixels:,}; scale the image down", source=source
        )
    if width * height * weight > max_pixels:
        raise ImageTooLargeError(
            f"{width} x {height} pixels of this kind cost as much as {int(width * height * weight):,} "
            f"ordinary ones, more than max_pixels={max_pixels:,}; save the image as a baseline JPEG or a PNG",
            source=source,
        )


def check_parts(count: int, *, most: int, parts: str, source: str) -> None:
    """Check how many parts a file is cut into, since a part takes time even where it is small.

    Args:
        count: Number of parts.
        most: Largest allowed number of parts.
        parts: Name of the parts in the plural, such as "chunks".
        source: Short description of the image, for error messages.

    Raises:
        ImageTooLargeError: The file has more than `most` parts.
    """
    if count > most:
        raise ImageTooLargeError(f"more than {most:,} {parts}; save the image anew", source=source)
