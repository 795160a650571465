"""The pixel value that a file declares transparent, as PNG and GIF files can."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFile

__all__ = ["transparent_value"]

# What Pillow stores in `info["transparency"]`, and the scale of the pixels that it decodes:
#
#     image            value                              pixels
#     1 bit            1; 255 from Pillow 12.1 on         0 or 255
#     2, 4 bits grey   0..3, 0..15, as in the file        0..255
#     16 bits grey     0..65535, as in the file           0..65535
#     16 bits RGB      0..65535 each, as in the file      0..255, the upper 8 bits
#
# https://github.com/python-pillow/Pillow/issues/9281 is about the first row.

# Factors from the values of 2 and 4-bit greys in the file to those of the pixels, by Pillow's raw mode.
_SPREAD = {"L;2": 85, "L;4": 17}


def transparent_value(image: Image.Image) -> int | tuple[int, ...] | None:
    """Return the value that is transparent, on the scale of the decoded pixels; None if no value is.

    It is best called before the image is loaded, while Pillow still knows how the file stores its values.

    Args:
        image: Image in any mode, loaded or not.
    """
    value = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(value, tuple) and len(value) == 3:
        sixteen = _raw_mode(image) == "RGB;16B" or max(value) > 255
        return tuple(channel >> 8 for channel in value) if sixteen else value
    if image.mode == "1" and isinstance(value, int):
        return 255 if value else 0
    if image.mode in ("I", "I;16") and isinstance(value, int):
        return value
    if image.mode == "L" and isinstance(value, int):
        if raw_mode := _raw_mode(image):
            return value * _SPREAD.get(raw_mode, 1)
        # The copy of a PNG has no format.
        return value * (_spread_of_loaded(image, value) if image.format in ("PNG", None) else 1)
    return None  # a palette contains its alpha; in other modes the entry is left over from a conversion


def _raw_mode(image: Image.Image) -> str:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return tiles[0].args if tiles and isinstance(tiles[0].args, str) else ""


def _spread_of_loaded(image: Image.Image, value: int) -> int:
    """Return the factor by which Pillow has multiplied the greys of a loaded image, by the greys that occur in it.

    The greys of an image of 2 bits are multiples of 85, and its transparent value is 3 or less.
    """
    greys = np.flatnonzero(image.histogram())
    for most, factor in ((3, 85), (15, 17)):
        if value <= most and not (greys % factor).any():
            return factor
    return 1
