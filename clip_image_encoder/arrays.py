"""One name per shape: what travels between the components, as numpy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._arguments import check_each, check_number, check_size
from clip_image_encoder.errors import BackendError

__all__ = ["PixelFormat", "Pixels", "TokenIds", "Tokens", "Vectors", "unit_rows"]

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]
"""One image or a batch of them, at the model's size.

Either `(H, W, 3)` or `(n, H, W, 3)` uint8 RGB, which the backend normalizes on its device;
or `(3, H, W)` or `(n, 3, H, W)` float32, which is taken as normalized already.
"""

Tokens: TypeAlias = NDArray[np.float32]
"""`(n, prefix_tokens + patches, d)` float32: class and register tokens where the model has them, then the patches."""

Vectors: TypeAlias = NDArray[np.float32]
"""`(n, d)` float32, a row for each image or text."""

TokenIds: TypeAlias = NDArray[np.int64]
"""`(n, length)` int64: the numbers that a tokenizer makes of texts; also their mask, 1 for a token, 0 for padding."""


_CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """What pixels have to be for a model: their size, and how they are normalized.

    Args:
        size: `(height, width)` in pixels; None where each image has a size of its own, whose sides patches fill.
        mean: Mean of each color channel, red first, for values in 0..1; it is subtracted from uint8 pixels.
        std: Standard deviation of each color channel, for values in 0..1; uint8 pixels are divided by it then.

    Raises:
        ConfigurationError: A side or a standard deviation is not positive, or something is no number.

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
    """Return the rows of `(n, d)` finite float32 vectors scaled to length 1, as float32.

    Raises:
        BackendError: A row is zero, and has no direction.

    Example:
        >>> unit_rows(np.array([[3.0, 4.0]], np.float32))
        array([[0.6, 0.8]], dtype=float32)
    """
    # In float64 the squares of float32 numbers neither overflow nor vanish.
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    if not norms.all():
        raise BackendError("the model gave a zero vector, which has no direction; is the checkpoint sound?")
    unit: Vectors = (exact / norms).astype(np.float32)
    return unit
