"""Types of the numpy arrays that components pass to each other: pixels, tokens, vectors and token ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._arguments import check_each, check_number, check_size
from clip_image_encoder.errors import BackendError

__all__ = ["PixelFormat", "Pixels", "TokenIds", "Tokens", "Vectors", "unit_rows"]

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]
"""Pixels of one image or of a batch of images, at the model's size.

Either uint8 RGB, `(H, W, 3)` or `(n, H, W, 3)`, which the backend normalizes on its device;
or float32, `(3, H, W)` or `(n, 3, H, W)`, which is normalized already.
"""

Tokens: TypeAlias = NDArray[np.float32]
"""Vectors of all tokens, `(n, prefix_tokens + patches, d)` float32: class and register tokens if any, then patches."""

Vectors: TypeAlias = NDArray[np.float32]
"""Vectors `(n, d)` float32, a row for each image or text."""

TokenIds: TypeAlias = NDArray[np.int64]
"""Token ids `(n, length)` int64 that a tokenizer makes of n texts; also their mask, 1 for a token, 0 for padding."""


_CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """Format of the pixels that a model takes: their size, and how they are normalized.

    A uint8 pixel p becomes `(p / 255 - mean) / std` in float32, for each color channel.

    Args:
        size: Size `(height, width)` in pixels; None means that each image has a size of its own, in whole patches.
        mean: Mean of each color channel, red first, for values in 0..1.
        std: Standard deviation of each color channel, red first, for values in 0..1.

    Raises:
        ConfigurationError: A side or a standard deviation is not positive, or a value is not a number.

    Example:
        >>> from clip_image_encoder import PixelFormat
        >>> PixelFormat(size=(224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).size
        (224, 224)
    """

    size: tuple[int, int] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.size is not None:
            object.__setattr__(self, "size", check_size(self.size, name="size"))
        object.__setattr__(self, "mean", check_each(self.mean, _check_mean, name="mean", parts=_CHANNELS))
        object.__setattr__(self, "std", check_each(self.std, _check_std, name="std", parts=_CHANNELS))


def _check_mean(value: float, *, name: str) -> float:
    return check_number(value, name=name, kind="a finite number")


def _check_std(value: float, *, name: str) -> float:
    return check_number(value, name=name, kind="a finite number above 0", above=0)


def unit_rows(vectors: Vectors) -> Vectors:
    """Return vectors scaled to length 1.

    Args:
        vectors: Vectors `(n, d)` float32, all numbers finite.

    Returns:
        float32 of the same shape.

    Raises:
        BackendError: A vector is zero, and has no direction.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0]], np.float32))
        array([[0.6, 0.8]], dtype=float32)
    """
    # In float64 the squares of float32 numbers neither overflow nor vanish.
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    if not norms.all():
        raise BackendError("the model gave a zero vector, which has no direction; check the checkpoint's weights")
    unit: Vectors = (exact / norms).astype(np.float32)
    return unit
