"""What a graph computes: all that decides it, in one frozen description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.protocols import Output

__all__ = ["Graph", "Kind", "Run", "TextGraph", "VisionGraph"]

Kind: TypeAlias = Literal["vision", "text"]
"""Which tower a graph is of."""

# Counts up when the same description is exported to another graph.
_VERSION = 5


class Run(Protocol):
    """A graph that is loaded: its inputs in their order in, features out; it may be called from several threads."""

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Return the features of a batch."""
        ...


@dataclass(frozen=True, kw_only=True)
class VisionGraph:
    """A vision tower from pixels to features, as one ONNX file.

    Attributes:
        checkpoint: The checkpoint whose tower it is.
        pixel_format: Size of the pixels, and how uint8 pixels are normalized.
        output: The features that it gives.
        pixels: The pixels that it takes: "uint8" `(n, H, W, 3)`, or "float32" `(n, 3, H, W)` that is normalized
            already.
    """

    kind: ClassVar[Kind] = "vision"
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


@dataclass(frozen=True, kw_only=True)
class TextGraph:
    """A text tower from token ids to vectors, as one ONNX file.

    Attributes:
        checkpoint: The checkpoint whose tower it is.
        is_masked: Whether a mask of the padding comes with the token ids; texts are then of any length, and else of
            the full length that the tower reads.
    """

    kind: ClassVar[Kind] = "text"
    checkpoint: Checkpoint
    is_masked: bool

    @property
    def key(self) -> str:
        """Same string, same graph."""
        return f"text graph {_VERSION} {(self.checkpoint.fingerprint, self.is_masked)}"


Graph: TypeAlias = VisionGraph | TextGraph
