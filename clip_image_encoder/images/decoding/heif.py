"""HEIC and HEIF, the photos of phones, opened with pi-heif (an extra) or with the plugin that is registered."""

from __future__ import annotations

import io
from typing import cast

from PIL import Image, ImageFile

from clip_image_encoder.errors import CorruptImageError, ImageTooLargeError, UnsupportedImageError
from clip_image_encoder.images.decoding.heif_primary import primary_alone
from clip_image_encoder.images.limits import check_pixels

__all__ = ["open_heif"]

# Bytes of memory for each of `max_pixels` that decoding may take, 800 MB in all by default. The slack is for small
# images, and for the parts of tiles that lie outside of the image.
_BYTES_A_PIXEL = 9
_SLACK = 2**24


def open_heif(data: bytes, *, max_pixels: int, source: str) -> ImageFile.ImageFile:
    """Open the primary image of a HEIF file, without decoding it.

    The image is upright after loading: libheif turns it as the file says, and no orientation is left in its EXIF.

    Args:
        data: Content of the whole file.
        max_pixels: Largest allowed height times width. Images whose pixels take more memory than those of 8 bits
            may have fewer: half as many with 10 or 12 bits, or with alpha.
        source: Short description of the input, for error messages.

    Raises:
        UnsupportedImageError: pi-heif is not installed, or the image is not coded in HEVC.
        ImageTooLargeError: The image has more pixels, or takes more memory to decode.
        CorruptImageError: The tiles do not cover the image.
        DecompressionBombError: The image has more pixels than Pillow's own limit allows.
        Exception: The file is damaged; the decoder raises exceptions of any class.
    """
    plugin = _plugin(source)
    alone, needed = primary_alone(data, source=source)
    image = plugin(io.BytesIO(alone), "")
    check_pixels(image.width, image.height, max_pixels=max_pixels, source=source)
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError  # as Image.open would, for any other format
    if needed > _BYTES_A_PIXEL * max_pixels + _SLACK:
        raise ImageTooLargeError(
            f"{image.width} x {image.height} pixels with their depth, alpha and tiles take {needed:,} bytes to decode, "
            f"more than {_BYTES_A_PIXEL} for each of max_pixels={max_pixels:,}; scale the image down",
            source=source,
        )
    if not image.info.get("primary", True):
        # Such as a file whose tiles do not cover the image: pi-heif then opens one of the tiles.
        raise CorruptImageError("the tiles of the HEIF do not make up its primary image", source=source)
    return image


def _plugin(source: str) -> type[ImageFile.ImageFile]:
    """Return the class that opens a HEIF file, without registering it with Pillow for the whole process."""
    try:
        import pi_heif
    except ImportError as error:
        if "HEIF" in Image.OPEN:
            return cast("type[ImageFile.ImageFile]", Image.OPEN["HEIF"][0])
        raise UnsupportedImageError(
            "HEIC and HEIF photos need pi-heif: python -m pip install 'clip-image-encoder[heif]'", source=source
        ) from error
    return cast("type[ImageFile.ImageFile]", pi_heif.HeifImageFile)
