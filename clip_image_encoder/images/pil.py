"""PIL images of the caller's: checked before anything of theirs is decoded."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageFile

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.describe import describe_pil
from clip_image_encoder.images.limits import check_pixels

__all__ = ["check_pil_image"]


def check_pil_image(image: Image.Image, *, formats: Sequence[str], max_pixels: int) -> str:
    """Return the description of a PIL image that may be decoded.

    Raises:
        ImageTooLargeError: it has more than `max_pixels`.
        UnsupportedImageError: it has no pixel, or was opened from a file of another format.
    """
    source = describe_pil(image)
    # Image.open takes an EPS, too, and its load() would start Ghostscript.
    if isinstance(image, ImageFile.ImageFile) and image.format is not None and image.format not in formats:
        raise UnsupportedImageError(
            f"opened from a file in the format {image.format}, which is not read; "
            "if the file can be trusted, pass a copy(), or add the format to formats=",
            source=source,
        )
    check_pixels(image.width, image.height, max_pixels=max_pixels, source=source)
    return source
