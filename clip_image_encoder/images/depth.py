"""From any depth to 8 bits: the rule is written out at `ImageLoader`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.errors import UnsupportedImageError

__all__ = ["FLOAT_WHITES", "check_dtype", "eight_bits"]

FLOAT_WHITES = (1.0, 255.0, 65535.0)
"""What white may be in a float file, which does not say it."""

_INTEGER_WHITES = (255, 65535, 2**31 - 1)

# Half an 8-bit step: resizing with a sharp filter overshoots by a little, and rounding hides it.
_HAIR = 0.5 / 255


def check_dtype(dtype: np.dtype[Any], *, source: str) -> None:
    """Check that a dtype can hold a picture.

    Raises:
        UnsupportedImageError: it is neither integer nor float.
    """
    if dtype.kind == "b":
        raise UnsupportedImageError(
            "a mask of True and False; if it is the picture, multiply it by 255, as uint8", source=source
        )
    if dtype.kind not in "uif":
        raise UnsupportedImageError("values must be integers or floats; uint8 in 0..255 is best", source=source)


def eight_bits(values: NDArray[Any], *, source: str, whites: Sequence[float] = (1.0,)) -> NDArray[np.uint8]:
    """Return the values scaled to 0..255; uint8 comes back as it is, not copied.

    Args:
        values: integers or floats of any shape, at least one; never changed.
        source: the input in a few words.
        whites: for floats, the values that white may have, in rising order.

    Raises:
        UnsupportedImageError: the range is not that of a picture.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind == "f":
        return _from_floats(values, whites, source=source)
    # Any uint16 picture is 16 bits deep; a wider type is merely what a program computed in.
    white = 65535 if values.dtype.newbyteorder("=") == np.uint16 else _integer_white(values, source=source)
    if white == 255:
        return values.astype(np.uint8)
    if white == 65535:
        # 65535 is 257 * 255; the division is exact, and with an odd divisor there is no tie.
        scaled = values.astype(np.uint32)
        scaled += 128
        scaled //= 257
        return scaled.astype(np.uint8)
    return np.rint(values * (255 / white)).astype(np.uint8)


def _integer_white(values: NDArray[Any], *, source: str) -> int:
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 0:
        raise UnsupportedImageError(f"has negative values, down to {lowest}; scale it to 0..255", source=source)
    if highest == 1:
        raise UnsupportedImageError(
            "a mask of 0 and 1; if it is the picture, multiply it by 255, as uint8", source=source
        )
    for white in _INTEGER_WHITES:
        if highest <= white:
            return white
    raise UnsupportedImageError(f"has values up to {highest}; scale it to 0..255", source=source)


def _from_floats(values: NDArray[Any], whites: Sequence[float], *, source: str) -> NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise UnsupportedImageError("has NaN or infinite values; replace them", source=source)
    lowest, highest = float(values.min()), float(values.max())
    if lowest < -_HAIR:
        raise UnsupportedImageError(
            f"has values from {lowest:g} to {highest:g} instead of 0 to 1; "
            "undo the normalisation (multiply by std, add mean)",
            source=source,
        )
    for white in whites:
        if highest <= white * (1 + _HAIR):
            scaled = values.astype(np.float32) * np.float32(255 / white)
            pixels: NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8)
            return pixels
    advice = "divide by 255" if highest <= 255 else f"divide by what white is, up to {highest:g}"
    raise UnsupportedImageError(f"has values from {lowest:g} to {highest:g} instead of 0 to 1; {advice}", source=source)
