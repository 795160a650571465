"""What a graph computes: all that decides it, in one frozen description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import Pixels
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.protocols import Output

__all__ = ["Graph", "Run"]

Run: TypeAlias = Callable[[Pixels], NDArray[np.float32]]
"""A graph that is loaded: a batch of pixels in, features out; may be called from several threads."""

# Counts up when the same description is exported to another graph.
_VERSION = 3


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A vision tower from pixels to features, as one ONNX file.

    Attributes:
        checkpoint: whose tower it is.
        image_size: `(height, width)` of the pixels.
        mean: subtracted from uint8 pixels, scaled to 0..1.
        std: divides them then.
        output: what it gives.
        pixels: what it takes: "uint8" `(n, H, W, 3)`, or "float32" `(n, 3, H, W)` that is normalised already.
    """

    checkpoint: Checkpoint
    image_size: tuple[int, int] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    output: Output
    pixels: Literal["uint8", "float32"]

    @property
    def key(self) -> str:
        """Same string, same graph."""
        parts = (self.checkpoint.fingerprint, self.image_size, self.mean, self.std, self.output, self.pixels)
        return f"graph {_VERSION} {parts}"
