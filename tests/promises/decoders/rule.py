"""The drawing in every file here, and the documented rule by which any depth becomes 8 bits, written once more."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]

HEIGHT, WIDTH = 22, 31


def drawing(channels: int = 3, *, height: int = HEIGHT, width: int = WIDTH) -> Values:
    """Return `(height, width, channels)` values in 0..1: slopes and blocks, black and white among them.

    The channels differ, no two corners are alike, and the last of 2 or 4, the alpha, has all of 0, half and 1.
    """
    y, x = np.mgrid[0:height, 0:width]
    planes = [x / max(width - 1, 1), y / max(height - 1, 1), (x + 2 * y) % 17 / 16, (x // 3 + y // 3) % 3 / 2]
    values = np.stack(
        [planes[3 if channels in (2, 4) and index == channels - 1 else index] for index in range(channels)]
    )
    values[:, : height // 4, : width // 4] = 1
    values[:, -height // 4 :, -width // 4 :] = 0
    if channels in (2, 4):
        values[-1, :, : width // 3] = 1
    return np.moveaxis(values, 0, -1)


def scaled(values: Values, white: int, dtype: str | np.dtype[Any] = "u2") -> Values:
    """Return values in 0..1 as integers from 0 to `white`."""
    whole: Values = np.rint(values * white).astype(dtype)
    return whole


def eight_bits(values: Values, white: float) -> Values:
    """Return values from 0 to `white` in 8 bits."""
    return np.rint(np.clip(values.astype(np.float64) * (255 / white), 0, 255)).astype(np.uint8)


def float_white(values: Values) -> float:
    """Return what white is in a float file."""
    return next(white for white in (1.0, 255.0, 65535.0) if values.max() <= white)


def integer_white(values: Values) -> int:
    """Return what white is in a file of 32-bit integers."""
    return next(white for white in (255, 65535, 2**31 - 1, 2**32 - 1) if values.max() <= white)


def on_white(values: Values) -> Values:
    """Return grey, grey and alpha, RGB or RGBA in 8 bits as RGB on a white background."""
    values = values.reshape(*values.shape[:2], -1).astype(np.float64)
    if values.shape[2] in (2, 4):
        alpha = values[..., -1:] / 255
        values = values[..., :-1] * alpha + 255 * (1 - alpha)
    rgb: Values = np.rint(np.broadcast_to(values, (*values.shape[:2], 3))).astype(np.uint8)
    return rgb


def from_cmyk(values: Values) -> Values:
    """Return 8-bit CMYK as RGB, without a profile."""
    light = 255 - values.astype(np.float64)
    rgb: Values = np.rint(light[..., :3] * light[..., 3:] / 255).astype(np.uint8)
    return rgb
