"""What a graph computes: all that decides it, in one frozen description."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import PixelFormat, Pixels
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
        pixel_format: size of the pixels, and how uint8 pixels are normalized.
        output: what it gives.
        pixels: what it takes: "uint8" `(n, H, W, 3)`, or "float32" `(n, 3, H, W)` that is normalised already.
    """

    checkpoint: Checkpoint
    pixel_format: PixelFormat
    output: Output
    pixels: Literal["uint8", "float32"]

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` of the pixels: a graph takes one size."""
        assert self.pixel_format.size is not None
        return self.pixel_format.size

    @property
    def key(self) -> str:
        """Same string, same graph."""
        seen = self.pixel_format
        parts = (self.checkpoint.fingerprint, seen.size, seen.mean, seen.std, self.output, self.pixels)
        return f"graph {_VERSION} {parts}"
