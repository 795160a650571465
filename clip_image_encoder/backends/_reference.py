"""Reference vectors: those of one known image and one known text, computed by torch in float32 on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import TokenIds
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.checkpoint._tokenizer import tokenizer_of
from clip_image_encoder.errors import EncoderError
from clip_image_encoder.tiny_shapes.draw import Scene, draw

__all__ = ["REFERENCE_TEXT", "Reference", "one_vector", "reference_pixels", "reference_tokens"]

REFERENCE_TEXT = "a red star"
"""The known text. It is short, because torch 2.8 to 2.11 computed wrong vectors of short texts on Apple's GPU."""

_FILE = "reference.npz"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The known input of a tower and its vector, computed by torch in float32 on the CPU.

    Attributes:
        inputs: Arrays that the tower takes, each with one row.
        vector: Vector `(d,)` float32; the mean of the tokens for a tower that has no pooled output.
    """

    inputs: tuple[NDArray[Any], ...]
    vector: NDArray[np.float32]

    def write(self, folder: Path) -> None:
        """Store the reference in a folder."""
        np.savez(folder / _FILE, self.vector, *self.inputs)

    @classmethod
    def read(cls, folder: Path) -> Reference:
        """Return the reference that was stored in a folder."""
        with np.load(folder / _FILE) as stored:
            vector, *inputs = (stored[name] for name in stored.files)
        return cls(inputs=tuple(inputs), vector=vector)


def reference_pixels(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the known image, a drawing of a red star, as pixels `(1, height, width, 3)` uint8.

    Args:
        size: Size of the image, `(height, width)` in pixels.
    """
    height, width = size
    drawing: NDArray[np.uint8] = np.asarray(draw(Scene(color="red", shape="star")).resize((width, height)))
    return drawing[None]


def reference_tokens(checkpoint: Checkpoint) -> tuple[TokenIds, TokenIds | None]:
    """Return the token ids `(1, length)` int64 of the known text, and their mask or None.

    A checkpoint without a tokenizer has the ids 0 to 5 instead, which are in any vocabulary.

    Args:
        checkpoint: Checkpoint whose tokenizer and text settings are used.
    """
    spec = checkpoint.text
    try:
        tokenizer = tokenizer_of(checkpoint, spec)
    except EncoderError:  # it is missing; users may take that of another checkpoint
        token_ids = np.arange(min(6, spec.max_length), dtype=np.int64)[None]
        if spec.padding == "longest":
            return token_ids, np.ones_like(token_ids)
        return np.resize(token_ids, (1, spec.max_length)), None
    return tokenizer([REFERENCE_TEXT])


def one_vector(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vector `(d,)` of one input's features, `(1, d)` or `(1, tokens, d)`: the mean of the tokens."""
    mean: NDArray[np.float32] = features.reshape(-1, features.shape[-1]).mean(axis=0)
    return mean
