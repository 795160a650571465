"""BMP: an alpha channel that nobody filled, and rows that Pillow decodes in Python."""

from __future__ import annotations

from PIL import Image

__all__ = ["bmp_weight", "without_empty_alpha"]

_RUN_LENGTHS = (1, 2)

# 75 ns a pixel.
_DECODED_IN_PYTHON = 8.0


def bmp_weight(data: bytes) -> float:
    """Return what a pixel costs, in ordinary ones, by the header."""
    header_size, compression = (int.from_bytes(data[start : start + 4], "little") for start in (14, 30))
    return _DECODED_IN_PYTHON if header_size >= 40 and compression in _RUN_LENGTHS else 1.0


def without_empty_alpha(image: Image.Image) -> Image.Image:
    """Return a loaded BMP in mode RGB if its alpha is 0 everywhere, as Windows shows it, else the image itself."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    return image
