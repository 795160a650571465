"""BMP: an alpha channel that is empty, one that Pillow leaves out, and rows that Pillow decodes in Python."""

from __future__ import annotations

import numpy as np
from PIL import Image

__all__ = ["alpha_of_16_bits", "bmp_weight", "without_empty_alpha"]

_RUN_LENGTHS = (1, 2)
_BIT_FIELDS = 3

# Run lengths are decoded in Python, which takes 75 ns a pixel.
_DECODED_IN_PYTHON = 8.0


def bmp_weight(data: bytes) -> float:
    """Return the cost of a pixel, in ordinary pixels (see `check_pixels`), by the header of a file."""
    return _DECODED_IN_PYTHON if _number(data, 14) >= 40 and _number(data, 30) in _RUN_LENGTHS else 1.0


def without_empty_alpha(image: Image.Image) -> Image.Image:
    """Return a loaded BMP in mode RGB if its alpha is 0 everywhere, which Windows ignores; else the image itself."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    return image


def alpha_of_16_bits(image: Image.Image, data: bytes) -> Image.Image | None:
    """Return the alpha of a BMP of 16 bits a pixel, which Pillow leaves out; None if it has none or is 0 everywhere.

    Args:
        image: Loaded image.
        data: Content of the whole file.
    """
    header_size, bits, compression = _number(data, 14), _number(data, 28) & 0xFFFF, _number(data, 30)
    field = _number(data, 66) if header_size >= 56 and bits == 16 and compression == _BIT_FIELDS else 0
    stride = (image.width * 2 + 3) // 4 * 4
    start = _number(data, 10)
    if not field or start + stride * image.height > len(data):
        return None
    rows = np.frombuffer(data, "<u2", stride // 2 * image.height, start).reshape(image.height, -1)[:, : image.width]
    from_the_top = data[25] == 0xFF  # a negative height
    alpha = (rows if from_the_top else rows[::-1]) & np.uint16(field)
    return Image.fromarray(np.rint(alpha * (255 / field)).astype(np.uint8)) if alpha.any() else None


def _number(data: bytes, place: int) -> int:
    return int.from_bytes(data[place : place + 4], "little")
