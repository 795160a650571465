"""Pillow's resize as products of small matrices: quicker, within 1 of its 255 steps, the same on every machine.

Rows of pixels, and then columns, are multiplied by the filter's weights, and rounded to 8 bits after each of the two,
as Pillow does. Weights are multiples of 2**-15, and no sum of pixels times weights reaches 2**9: float32 holds them all
exactly, so that it does not matter which processor and which library adds them up in which order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

__all__ = ["can_resize_quickly", "resize_quickly"]

_ONE = 2.0**15

# Values that share a matrix: with fewer the calls cost more than the products, with more most of the weights are 0.
_TOGETHER = 8

# Multiplications in a product: for more, OpenBLAS, which numpy brings, would start threads beside the loading ones.
_AT_ONCE = 2**18

# Rows of an image that are unpacked at a time, so that they stay in a processor's cache.
_ROWS = 128

# How far images are scaled down, at least and at most. Where less, Pillow takes little time, and its weights are so
# large that a step in the first pass may become two in the second; where more, the matrices would be large.
_SCALES = 2, 64


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - distance, 0.0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = (((distance - 5.0) * distance + 8.0) * distance - 4.0) * -0.5
    return np.where(distance < 1.0, near, np.where(distance < 2.0, far, 0.0))


_Kernel = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_FILTERS: dict[Resampling, tuple[_Kernel, float]] = {
    Resampling.BILINEAR: (_triangle, 1.0),
    Resampling.BICUBIC: (_cubic, 2.0),
}
"""How Pillow weighs pixels by their distance, and the distance from which on it leaves them out."""


@dataclass(frozen=True, kw_only=True)
class _Bands:
    """The weights of one axis: a matrix for each 8 neighbouring values, of the few inputs that they are made of.

    Attributes:
        first: Place of the first input that is needed.
        last: Place behind the last one.
        starts: Place of the first input of each matrix, counted from `first`.
        matrices: `(matrices, inputs, values)`.
    """

    first: int
    last: int
    starts: tuple[int, ...]
    matrices: NDArray[np.float32]


def can_resize_quickly(image: Image.Image, resized: tuple[int, int], resample: Resampling) -> bool:
    """Tell whether `resize_quickly` takes an image: an RGB one, 2 to 64 times as large each way, and its filters."""
    least, most = _SCALES
    scales = image.width / resized[0], image.height / resized[1]
    return image.mode == "RGB" and resample in _FILTERS and least <= min(scales) and max(scales) <= most


def resize_quickly(
    image: Image.Image, resized: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], resample: Resampling
) -> NDArray[np.uint8]:
    """Return the pixels `(height, width, 3)` of a box of what an image becomes when it is resized.

    Args:
        image: One that `can_resize_quickly`.
        resized: `(width, height)` that the whole image is resized to.
        corner: `(left, top)` of the box, which lies inside of the resized image.
        size: `(width, height)` of the box.
        resample: Pillow's filter, bilinear or bicubic.
    """
    if image.height - resized[1] > max(0, 2 * (image.width - resized[0])):
        # Pillow, from 13 on, then resizes columns first. The order shows, since both passes cut what is beyond 0..255.
        turned = image.transpose(Image.Transpose.TRANSPOSE)
        pixels = _rows_first(turned, resized[::-1], corner[::-1], size[::-1], resample)
        return np.ascontiguousarray(pixels.transpose(1, 0, 2))
    return _rows_first(image, resized, corner, size, resample)


def _rows_first(
    image: Image.Image, resized: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], resample: Resampling
) -> NDArray[np.uint8]:
    across = _bands(image.width, resized[0], corner[0], size[0], resample)
    down = _bands(image.height, resized[1], corner[1], size[1], resample)
    rows, (width, height) = down.last - down.first, size
    # Each row of the image is three lines: its reds, its greens, its blues.
    narrowed = np.empty((3 * rows, width), np.float32)
    line = 0
    for lines in _unpacked(image, across, down):
        _weigh(lines, across, out=narrowed[line : line + len(lines)])
        line += len(lines)
    made = np.empty((height, 3 * width), np.float32)
    _weigh(narrowed.reshape(rows, 3 * width).T, down, out=made.T)
    planes = made.astype(np.uint8).reshape(height, 3, width)
    pixels = np.empty((height, width, 3), np.uint8)
    for color in range(3):  # a third of the time of a transpose
        pixels[:, :, color] = planes[:, color]
    return pixels


def _unpacked(image: Image.Image, across: _Bands, down: _Bands) -> Iterator[NDArray[np.float32]]:
    """Yield the lines `(3 * rows, width)` of the part of the image that is needed; each takes the place of the last."""
    image.load()
    width = across.last - across.first
    values = np.empty((3 * _ROWS, width), np.float32)
    for top in range(down.first, down.last, _ROWS):
        bottom = min(top + _ROWS, down.last)
        lines = values[: 3 * (bottom - top)]
        # What `image.crop(...).tobytes("raw", "RGB;L")` does, without its copies.
        encoder = Image._getencoder("RGB", "raw", ("RGB;L",))
        encoder.setimage(image.im, (across.first, top, across.last, bottom))
        lines[...] = np.frombuffer(encoder.encode(lines.size)[2], np.uint8).reshape(lines.shape)
        yield lines


def _weigh(lines: NDArray[np.float32], bands: _Bands, *, out: NDArray[np.float32]) -> None:
    """Write the weighed sums of each line, rounded to 8 bits."""
    inputs = bands.matrices.shape[1]
    step = max(1, _AT_ONCE // (inputs * _TOGETHER))
    for line in range(0, len(lines), step):
        some, made = lines[line : line + step], out[line : line + step]
        for place, start in enumerate(bands.starts):
            values = made[:, place * _TOGETHER : (place + 1) * _TOGETHER]
            np.matmul(some[:, start : start + inputs], bands.matrices[place, :, : values.shape[1]], out=values)
        np.add(made, 0.5, out=made)
        np.floor(made, out=made)
        np.clip(made, 0, 255, out=made)


@lru_cache(maxsize=32)
def _bands(from_size: int, to_size: int, first: int, count: int, resample: Resampling) -> _Bands:
    """Return the weights of `count` values from `first` on, of an axis that is resized as a whole."""
    lows, highs, weights = _weights(from_size, to_size, first, count, resample)
    last = int(highs[-1])
    begins, ends = lows[::_TOGETHER], highs[np.minimum(np.arange(0, count, _TOGETHER) + _TOGETHER, count) - 1]
    inputs = int((ends - begins).max())
    # Matrices are all of one height, so that one near the end begins earlier than it would have to.
    starts = np.minimum(begins, max(last - inputs, int(lows[0]))) - lows[0]
    matrices = np.zeros((len(starts), inputs, _TOGETHER), np.float32)
    value, tap = np.nonzero(weights)
    matrix = value // _TOGETHER
    matrices[matrix, lows[value] - lows[0] + tap - starts[matrix], value % _TOGETHER] = weights[value, tap]
    return _Bands(first=int(lows[0]), last=last, starts=tuple(map(int, starts)), matrices=matrices)


def _weights(
    from_size: int, to_size: int, first: int, count: int, resample: Resampling
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return for each value the place of its first input, that behind its last, and its weights `(count, taps)`."""
    kernel, support = _FILTERS[resample]
    scale = from_size / to_size
    centers = (np.arange(first, first + count) + 0.5) * scale
    # Where Pillow cuts, so does this.
    lows = np.maximum((centers - support * scale + 0.5).astype(np.int64), 0)
    highs = np.minimum((centers + support * scale + 0.5).astype(np.int64), from_size)
    places = lows[:, None] + np.arange(int((highs - lows).max()))
    weights = kernel(np.abs((places - centers[:, None] + 0.5) * (1.0 / scale)))
    weights[places >= highs[:, None]] = 0.0
    # The sums are rounded: what one weight loses the next one gets, and each row adds up to 1. numpy's `sum` would
    # depend on the processor, `cumsum` adds one by one.
    totals = np.cumsum(weights, axis=1)
    return lows, highs, np.diff(np.rint(totals / totals[:, -1:] * _ONE), axis=1, prepend=0.0) / _ONE
