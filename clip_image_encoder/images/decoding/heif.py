"""HEIC and HEIF, the photos of phones: read with pi-heif, which is an extra, or what the application has registered."""

from __future__ import annotations

import io
from typing import cast

from PIL import Image, ImageFile

from clip_image_encoder.errors import CorruptImageError, ImageTooLargeError, UnsupportedImageError
from clip_image_encoder.images.decoding.heif_primary import primary_alone
from clip_image_encoder.images.limits import check_pixels

__all__ = ["open_heif"]

# Most of what is decoded for a picture of `max_pixels`: 800 MB by default. The rest is for the parts of
# tiles that stick out of it, and for small pictures.
_BYTES_A_PIXEL = 9
_SLACK = 2**24


def open_heif(data: bytes, *, max_pixels: int, source: str) -> ImageFile.ImageFile:
    """Open the primary picture of a HEIF file; nothing is decoded yet.

    It will be upright: libheif turns it as the file says, and the orientation in its EXIF counts as done.

    Args:
        data: a whole file.
        max_pixels: height times width, at most. Where decoding takes more memory than so many pixels of
            8 bits do, there may be fewer: half as many of 10 and 12 bits, or with alpha.
        source: the input in a few words.

    Raises:
        UnsupportedImageError: pi-heif is not installed, or the picture is coded in something else than HEVC.
        ImageTooLargeError: there are more pixels, or more is to be decoded.
        CorruptImageError: its tiles do not make the picture.
        DecompressionBombError: there are more pixels than Pillow's own limit allows.
        Exception: whatever the decoder raises where the file is damaged.
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
            f"more than {_BYTES_A_PIXEL} for each of max_pixels={max_pixels:,}; scale the picture down",
            source=source,
        )
    if not image.info.get("primary", True):
        # It contradicts itself, such as tiles that do not cover it; pi-heif opens one of the tiles instead.
        raise CorruptImageError("the primary picture of the HEIF can't be put together", source=source)
    return image


def _plugin(source: str) -> type[ImageFile.ImageFile]:
    """Return the class that opens a HEIF file, without making it one of Pillow's own plugins for everybody."""
    try:
        import pi_heif
    except ImportError as error:
        if "HEIF" in Image.OPEN:
            return cast("type[ImageFile.ImageFile]", Image.OPEN["HEIF"][0])
        raise UnsupportedImageError(
            "HEIC and HEIF photos need pi-heif: python -m pip install 'clip-image-encoder[heif]'", source=source
        ) from error
    return cast("type[ImageFile.ImageFile]", pi_heif.HeifImageFile)
