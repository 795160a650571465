"""The one value of an image that stands for transparent, as PNG and some others have it."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFile

__all__ = ["transparent_value"]

# Pillow spreads 2 and 4-bit greys over 0..255, but not their transparent value.
_SPREAD = {"L;2": 85, "L;4": 17}


def transparent_value(image: Image.Image) -> int | tuple[int, ...] | None:
    """Return the value that is transparent, on the scale of the decoded pixels; None if there is none.

    Best before the image is loaded: until then it is known how the file counts its values.

    Args:
        image: in any mode, loaded or not.
    """
    value = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(value, tuple) and len(value) == 3:
        # Pillow cuts 16-bit colors to their upper 8 bits, but not this value.
        sixteen = _raw_mode(image) == "RGB;16B" or max(value) > 255
        return tuple(channel >> 8 for channel in value) if sixteen else value
    if image.mode == "1" and isinstance(value, int):
        return 255 if value else 0  # Pillow 11 says 1, Pillow 12 says 255
    if image.mode in ("I", "I;16") and isinstance(value, int):
        return value
    if image.mode == "L" and isinstance(value, int):
        if raw_mode := _raw_mode(image):
            return value * _SPREAD.get(raw_mode, 1)
        # A copy of a PNG has no format.
        return value * (_spread_of_loaded(image, value) if image.format in ("PNG", None) else 1)
    return None  # palettes keep theirs for themselves; elsewhere it is a leftover of some conversion


def _raw_mode(image: Image.Image) -> str:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return tiles[0].args if tiles and isinstance(tiles[0].args, str) else ""


def _spread_of_loaded(image: Image.Image, value: int) -> int:
    """Return the factor of a loaded image's greys, by the greys that it has.

    An image of 2 bits has none but multiples of 85, and its transparent value is 3 or less.
    """
    greys = np.flatnonzero(image.histogram())
    for most, factor in ((3, 85), (15, 17)):
        if value <= most and not (greys % factor).any():
            return factor
    return 1
