"""PIL images that the caller passes: checks before they are decoded."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageFile

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.describe import describe_pil
from clip_image_encoder.images.encoded import read_file
from clip_image_encoder.images.formats import is_allowed
from clip_image_encoder.images.limits import check_pixels

__all__ = ["bytes_behind", "check_pil_image"]


def check_pil_image(image: Image.Image, *, formats: Sequence[str], max_pixels: int) -> str:
    """Check that a PIL image may be decoded, and return its description for error messages.

    Args:
        image: Image that the caller has opened or made.
        formats: Names of the file formats that are read, as Pillow writes them.
        max_pixels: Largest allowed height times width.

    Raises:
        ImageTooLargeError: The image has more than `max_pixels` pixels.
        UnsupportedImageError: The image has no pixel, is closed, or was opened from a file of another format.
    """
    source = describe_pil(image)
    # Image.open opens an EPS, too, whose load() would start Ghostscript.
    if isinstance(image, ImageFile.ImageFile) and image.format and not is_allowed(image.format, formats):
        raise UnsupportedImageError(
            f"opened from a file in the format {image.format}, which is not read; "
            "if the file can be trusted, pass a copy(), or add the format to formats=",
            source=source,
        )
    if _is_closed(image):
        raise UnsupportedImageError("the PIL image is closed; pass it while it is open, or its file", source=source)
    check_pixels(image.width, image.height, max_pixels=max_pixels, source=source)
    return source


def bytes_behind(image: Image.Image, *, max_bytes: int) -> bytes | None:
    """Return the file behind a PIL image; None if it is loaded, has no file, or shows a later frame.

    Args:
        image: Image that the caller has opened or made.
        max_bytes: Largest allowed size of the file, in bytes.

    Raises:
        ImageTooLargeError: The file has more than `max_bytes` bytes.
        ImageError: The file can't be read.
    """
    if not isinstance(image, ImageFile.ImageFile) or not _is_unread(image) or image.fp is None:
        return None
    if image.format is None or image.tell() != 0:
        return None
    return read_file(image.fp, max_bytes=max_bytes).data


def _is_unread(image: ImageFile.ImageFile) -> bool:
    return bool(image.tile) or image._im is None


def _is_closed(image: Image.Image) -> bool:
    if isinstance(image, ImageFile.ImageFile) and _is_unread(image):
        return image.fp is None or image.fp.closed
    try:
        return image.im is None
    except ValueError:  # Pillow's answer for the pixels of a closed image
        return True
