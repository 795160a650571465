"""Descriptions of graphs: each says all that decides what the ONNX file of a tower computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.protocols import Output

__all__ = ["Graph", "Run", "TextGraph", "VisionGraph"]

_VERSION = 7
"""Version of the export; raise it when the same description is exported to another graph."""


class Run(Protocol):
    """A loaded graph: a function from its inputs, in their order, to features; several threads may call it at once."""

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the features of a batch, float32 with one row for each image or text."""
        ...


@dataclass(frozen=True, kw_only=True)
class VisionGraph:
    """A vision tower from pixels to features, as one ONNX file.

    Attributes:
        checkpoint: Checkpoint that the tower belongs to.
        pixel_format: Size of the pixels, and how the graph normalizes uint8 pixels.
        output: Features that the graph returns, "pooled" or "tokens".
        pixels: Dtype of the pixels that the graph takes: "uint8" for `(n, H, W, 3)`, or "float32" for `(n, 3, H, W)`
            that is normalized already.
    """

    checkpoint: Checkpoint
    pixel_format: PixelFormat
    output: Output
    pixels: Literal["uint8", "float32"]

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` of the pixels, which is one size for all images of a graph."""
        assert self.pixel_format.size is not None
        return self.pixel_format.size

    @property
    def patches(self) -> int:
        """Number of patches of an image."""
        return self.checkpoint.vision.patches(self.size)

    @property
    def key(self) -> str:
        """Identifier of the graph: equal strings mean equal graphs."""
        seen = self.pixel_format
        parts = (self.checkpoint.fingerprint, seen.size, seen.mean, seen.std, self.output, self.pixels)
        return f"graph {_VERSION} {parts}"


@dataclass(frozen=True, kw_only=True)
class TextGraph:
    """A text tower from token ids to vectors, as one ONNX file.

    Attributes:
        checkpoint: Checkpoint that the tower belongs to.
        is_masked: Whether the graph takes a mask of the padding besides the token ids; with a mask a batch may have
            any length, and without one it has the full length of the tower.
    """

    checkpoint: Checkpoint
    is_masked: bool

    @property
    def patches(self) -> None:
        """None, since texts have no patches."""
        return None

    @property
    def key(self) -> str:
        """Identifier of the graph: equal strings mean equal graphs."""
        return f"text graph {_VERSION} {(self.checkpoint.fingerprint, self.is_masked)}"


Graph: TypeAlias = VisionGraph | TextGraph
