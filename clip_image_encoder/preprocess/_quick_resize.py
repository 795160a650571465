"""Pillow's resize as products of small matrices: faster, equal to it within 1 of 255, and the same on every machine.

Rows of pixels, and then columns, are multiplied by the weights of the filter, and rounded to 8 bits after each of the
two passes, as Pillow does (`src/libImaging/Resample.c`). Weights are multiples of 2**-15, and no sum of pixels times
weights reaches 2**9. float32 represents all such sums exactly, so that the result does not depend on the processor, on
the library, or on the order in which they add.
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

# Values that share a matrix. With fewer the calls cost more than the products; with more, most weights are 0.
_TOGETHER = 8

# Multiplications in one product. For more, numpy's OpenBLAS would start threads beside those that load images.
_AT_ONCE = 2**18

# Elements of an array up to which numpy keeps Python's lock. Weights are made in 30 short steps: if each gave the lock
# away, sixteen threads that load images of many sizes would mostly wait for it.
_KEEPS_LOCK = 500

# Pixels of an image that are unpacked at a time. Fewer would mean more calls that wait for Python's lock; more would
# not fit into a processor's cache.
_UNPACKED = 2**18

# Smallest and largest factor by which images are scaled down here. Below it, Pillow takes little time, and its weights
# are so large that a difference of 1 after the first pass may become 2 in the second. Above it, matrices are large.
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
"""Weight of a pixel by its distance, and the distance from which on it is 0, for the filters of Pillow."""


@dataclass(frozen=True, kw_only=True)
class _Bands:
    """The weights of one axis, cut into small matrices: each makes up to 8 neighboring values of a few inputs.

        inputs  . . . . . . . . . . . . .      Matrices begin at equal distances, so that one call multiplies by all of
                [matrix 0 ] . . . . . . .      them. Each has 8 columns, of which the last may be empty; those are not
                . . . [matrix 1 ] . . . .      kept.
                . . . . . . [matrix 2 ] .

    Attributes:
        first: Index of the first input; it may lie before the image, and its weights are 0 then.
        length: Number of inputs, of which the last may lie after the end of the image.
        apart: Number of inputs from the start of one matrix to the start of the next.
        matrices: Weights, `(matrices, inputs, 8)` float32.
        kept: Indices of the columns that hold values, in their order, counted through all matrices.
    """

    first: int
    length: int
    apart: int
    matrices: NDArray[np.float32]
    kept: NDArray[np.int64]

    @property
    def columns(self) -> int:
        """Number of columns of all matrices, empty ones included."""
        return len(self.matrices) * _TOGETHER


def can_resize_quickly(image: Image.Image, resized: tuple[int, int], resample: Resampling) -> bool:
    """Tell whether `resize_quickly` takes an image: RGB, 2 to 64 times as wide and as high, and with a known filter."""
    least, most = _SCALES
    scales = image.width / resized[0], image.height / resized[1]
    return image.mode == "RGB" and resample in _FILTERS and least <= min(scales) and max(scales) <= most


def resize_quickly(
    image: Image.Image, resized: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], resample: Resampling
) -> NDArray[np.uint8]:
    """Return the pixels `(height, width, 3)` of a box of what an image becomes when it is resized.

    Args:
        image: Image for which `can_resize_quickly` is True.
        resized: `(width, height)` in pixels that the whole image is resized to.
        corner: `(left, top)` of the box, which lies inside of the resized image.
        size: `(width, height)` of the box in pixels.
        resample: Filter of Pillow, bilinear or bicubic.
    """
    if image.height - resized[1] > max(0, 2 * (image.width - resized[0])):
        # Columns first, as in Pillow 13 and later. The order matters, since each pass clips values to 0..255.
        turned = image.transpose(Image.Transpose.TRANSPOSE)
        pixels = _rows_first(turned, resized[::-1], corner[::-1], size[::-1], resample)
        return np.ascontiguousarray(pixels.transpose(1, 0, 2))
    return _rows_first(image, resized, corner, size, resample)


def _rows_first(
    image: Image.Image, resized: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], resample: Resampling
) -> NDArray[np.uint8]:
    across = _bands(image.width, resized[0], corner[0], size[0], resample)
    down = _bands(image.height, resized[1], corner[1], size[1], resample)
    # Each row of the image is three lines: one of red values, one of green, one of blue.
    rows = max(1, min(_UNPACKED // across.length, down.length))
    unpacked = np.zeros((rows, 3, across.length), np.float32)
    narrowed = np.zeros((down.length, 3, across.columns), np.float32)
    windows = _windows(unpacked.reshape(-1, across.length), across)
    sums = _places(narrowed.reshape(-1, across.columns), across)
    for top, bottom in _unpack(image, across, down, into=unpacked):
        _multiply(windows[:, : 3 * (bottom - top)], across, out=sums[:, 3 * top : 3 * bottom])
    _round(narrowed)
    made = np.empty((down.columns, 3, across.columns), np.float32)
    windows = _windows(narrowed.reshape(down.length, -1).T, down)
    _multiply(windows, down, out=_places(made.reshape(down.columns, -1).T, down))
    _round(made)
    kept = made.astype(np.uint8).take(down.kept, axis=0).take(across.kept, axis=2)
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    for color in range(3):  # takes a third of the time of a transpose
        pixels[:, :, color] = kept[:, color]
    return pixels


def _unpack(
    image: Image.Image, across: _Bands, down: _Bands, *, into: NDArray[np.float32]
) -> Iterator[tuple[int, int]]:
    """Fill `into`, `(rows, 3, across.length)`, with the rows that are needed, one part after the other.

    Yields:
        The first row of the part and the row after its last, counted from `down.first`.
    """
    image.load()
    left, right = max(across.first, 0), min(across.first + across.length, image.width)
    top, bottom = max(down.first, 0), min(down.first + down.length, image.height)
    inside = into[:, :, left - across.first : right - across.first]
    # Pillow copies pixels of 4 bytes, as they are in its memory, into this array, and numpy takes the colors from it.
    # Both release Python's lock. Pillow's encoders, which `np.asarray(image)` uses, hold it.
    packed = np.empty((len(into), right - left, 4), np.uint8)
    window = Image.frombuffer("RGBX", (right - left, len(into)), packed, "raw", "RGBX", 0, 1)
    for row in range(top, bottom, len(into)):
        count = min(len(into), bottom - row)
        window.im.paste(image.im, (-left, -row, image.width - left, image.height - row))
        inside[:count] = packed[:count, :, :3].transpose(0, 2, 1)
        yield row - down.first, row + count - down.first


def _windows(lines: NDArray[np.float32], bands: _Bands) -> NDArray[np.float32]:
    """Return a view of the lines with the inputs of each matrix, `(matrices, lines, inputs)`."""
    count, inputs, _ = bands.matrices.shape
    down, along = lines.strides
    return _view(lines, (count, len(lines), inputs), (bands.apart * along, down, along))


def _places(lines: NDArray[np.float32], bands: _Bands) -> NDArray[np.float32]:
    """Return a view of the lines with the values that each matrix makes, `(matrices, lines, 8)`."""
    down, along = lines.strides
    return _view(lines, (len(bands.matrices), len(lines), _TOGETHER), (_TOGETHER * along, down, along))


def _view(
    lines: NDArray[np.float32], shape: tuple[int, int, int], strides: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Return the view that `np.lib.stride_tricks.as_strided` makes, in a twentieth of its time."""
    assert lines.base is not None
    return np.ndarray(shape, np.float32, lines.base, 0, strides)


def _multiply(windows: NDArray[np.float32], bands: _Bands, *, out: NDArray[np.float32]) -> None:
    step = max(1, _AT_ONCE // bands.matrices[0].size)
    for line in range(0, windows.shape[1], step):
        np.matmul(windows[:, line : line + step], bands.matrices, out=out[:, line : line + step])


def _round(sums: NDArray[np.float32]) -> None:
    """Round sums to 8 bits in place."""
    np.add(sums, 0.5, out=sums)
    np.floor(sums, out=sums)
    sums.clip(0, 255, out=sums)


@lru_cache(maxsize=64)
def _bands(from_size: int, to_size: int, first: int, count: int, resample: Resampling) -> _Bands:
    """Return the weights of `count` values from `first` on, of an axis that is resized from one size to another."""
    lows, weights = _weights(from_size, to_size, first, count, resample)
    taps = weights.shape[1]
    apart = _TOGETHER * from_size // to_size  # at most 8 values begin within so many inputs
    matrix = (lows - lows[0]) // apart
    column = np.arange(count) - np.searchsorted(matrix, matrix)
    within = lows - lows[0] - matrix * apart
    matrices = np.zeros((matrix[-1] + 1, within.max() + taps, _TOGETHER), np.float32)
    matrices[matrix[:, None], within[:, None] + np.arange(taps), column[:, None]] = weights
    return _Bands(
        first=int(lows[0]),
        length=(len(matrices) - 1) * apart + matrices.shape[1],
        apart=apart,
        matrices=matrices,
        kept=matrix * _TOGETHER + column,
    )


def _weights(
    from_size: int, to_size: int, first: int, count: int, resample: Resampling
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the index of the first input of each value, and the weights `(count, taps)`, 0 outside of the image."""
    kernel, support = _FILTERS[resample]
    scale = from_size / to_size
    centers = (np.arange(first, first + count) + 0.5) * scale
    # The range of inputs is rounded as in Pillow's `precompute_coeffs`.
    lows = np.floor(centers - support * scale + 0.5).astype(np.int64)
    highs = np.minimum(np.floor(centers + support * scale + 0.5).astype(np.int64), from_size)
    taps = np.arange(int((highs - lows).max()))
    weights = np.empty((count, len(taps)))
    together = max(1, _KEEPS_LOCK // len(taps))
    for start in range(0, count, together):
        rows = slice(start, start + together)
        places = lows[rows, None] + taps
        values = kernel(np.abs((places - centers[rows, None] + 0.5) * (1.0 / scale)))
        values = np.where((places < 0) | (places >= highs[rows, None]), 0.0, values)
        # Cumulative sums are rounded, not weights: each row then adds up to exactly 1. `cumsum` adds one by one, while
        # the order in which numpy's `sum` adds depends on the processor.
        totals = np.cumsum(values, axis=1)
        rounded = np.rint(totals / totals[:, -1:] * _ONE)
        weights[rows, 0] = rounded[:, 0]
        weights[rows, 1:] = rounded[:, 1:] - rounded[:, :-1]
    weights /= _ONE
    return lows, weights
