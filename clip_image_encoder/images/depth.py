"""Scaling of values of any depth to 8 bits, by the rule in the docstring of `ImageLoader`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.errors import UnsupportedImageError

__all__ = ["FLOAT_WHITES", "check_dtype", "eight_bits", "white_of_array", "white_of_floats", "white_of_integers"]

FLOAT_WHITES = (1.0, 255.0, 65535.0)
"""Values that white may have in a float file, which does not say which."""

_INTEGER_WHITES = (255, 65535, 2**31 - 1)

# Half an 8-bit step: a sharp filter overshoots by as much when it resizes, and rounding to 8 bits hides it.
_HALF_STEP = 0.5 / 255


def check_dtype(dtype: np.dtype[Any], *, source: str) -> None:
    """Check that a dtype can hold an image.

    Raises:
        UnsupportedImageError: The dtype is neither integer nor float.
    """
    if dtype.kind == "b":
        raise UnsupportedImageError(
            "a mask of True and False; if it is the image, multiply it by 255, as uint8", source=source
        )
    if dtype.kind not in "uif":
        raise UnsupportedImageError("values must be integers or floats; uint8 in 0..255 is best", source=source)


def white_of_array(values: NDArray[Any], *, source: str) -> float:
    """Return the value of white in an array with at least one value.

    Raises:
        UnsupportedImageError: The values are not in a range that images have.
    """
    if values.dtype.kind == "f":
        return white_of_floats(float(values.min()), float(values.max()), whites=(1.0,), source=source)
    if values.dtype.itemsize <= 2 and values.dtype.kind == "u":
        # An array of uint16 is 16 bits deep; a wider type is merely what a program computed in.
        return 255 if values.dtype.itemsize == 1 else 65535
    return white_of_integers(int(values.min()), int(values.max()), source=source)


def white_of_integers(lowest: int, highest: int, *, source: str) -> int:
    """Return the value of white in an image of integers, by the lowest and the highest of them.

    Raises:
        UnsupportedImageError: The values are not in a range that images have.
    """
    if lowest < 0:
        raise UnsupportedImageError(f"has negative values, down to {lowest}; scale it to 0..255", source=source)
    if highest == 1:
        raise UnsupportedImageError(
            "a mask of 0 and 1; if it is the image, multiply it by 255, as uint8", source=source
        )
    for white in _INTEGER_WHITES:
        if highest <= white:
            return white
    raise UnsupportedImageError(f"has values up to {highest}; scale it to 0..255", source=source)


def white_of_floats(lowest: float, highest: float, *, whites: Sequence[float], source: str) -> float:
    """Return the value of white in an image of floats, by the lowest and the highest of them.

    Args:
        lowest: Lowest of the image's values.
        highest: Highest of the image's values.
        whites: Values that white may have, in rising order.
        source: Short description of the input, for error messages.

    Raises:
        UnsupportedImageError: The values are not in a range that images have.
    """
    _check_finite(math.isfinite(lowest) and math.isfinite(highest), source=source)
    if lowest < -_HALF_STEP:
        raise UnsupportedImageError(
            f"has values from {lowest:g} to {highest:g} instead of 0 to 1; "
            "undo the normalization (multiply by std, add mean)",
            source=source,
        )
    for white in whites:
        if highest <= white * (1 + _HALF_STEP):
            return white
    advice = "divide by 255" if highest <= 255 else f"divide by the value of white, up to {highest:g}"
    raise UnsupportedImageError(f"has values from {lowest:g} to {highest:g} instead of 0 to 1; {advice}", source=source)


def eight_bits(values: NDArray[Any], *, white: float, source: str) -> NDArray[np.uint8]:
    """Return the values scaled to 0..255 uint8; an array of uint8 is returned as it is, not copied.

    Args:
        values: Integers or floats of any shape; they are not changed.
        white: Value that becomes 255; black is 0.
        source: Short description of the input, for error messages.

    Raises:
        UnsupportedImageError: A float is NaN or infinite.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        _check_finite(bool(np.isfinite(values).all()), source=source)
        scaled = values.astype(np.float32)
        scaled *= np.float32(255 / white)
        np.rint(scaled, out=scaled).clip(0, 255, out=scaled)
        return scaled.astype(np.uint8)
    if white == 255:
        return values.astype(np.uint8)
    if white == 65535:
        # 65535 is 257 * 255; the division is exact, and with an odd divisor there is no tie.
        integers = values.astype(np.uint32)
        integers += 128
        integers //= 257
        return integers.astype(np.uint8)
    return np.rint(values * (255 / white)).clip(0, 255).astype(np.uint8)


def _check_finite(finite: bool, *, source: str) -> None:
    if not finite:
        raise UnsupportedImageError("has NaN or infinite values; replace them", source=source)
