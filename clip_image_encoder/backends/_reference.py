"""One image and one text, and what float32 gives of them in torch on the CPU."""

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
"""A short one: torch 2.8 to 2.11 gave wrong vectors of short texts on Apple's GPU."""

_FILE = "reference.npz"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One input of a tower, and what float32 gives of it in torch on the CPU.

    Attributes:
        inputs: What the tower takes, each with one row.
        vector: `(d,)` float32; of a tower that gives tokens, their mean.
    """

    inputs: tuple[NDArray[Any], ...]
    vector: NDArray[np.float32]

    def write(self, folder: Path) -> None:
        """Store it as a file of a folder."""
        np.savez(folder / _FILE, self.vector, *self.inputs)

    @classmethod
    def read(cls, folder: Path) -> Reference:
        """Return what was stored in a folder."""
        with np.load(folder / _FILE) as stored:
            vector, *inputs = (stored[name] for name in stored.files)
        return cls(inputs=tuple(inputs), vector=vector)


def reference_pixels(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a drawing, `(1, height, width, 3)`.

    Args:
        size: `(height, width)` in pixels.
    """
    height, width = size
    drawing: NDArray[np.uint8] = np.asarray(draw(Scene(colour="red", shape="star")).resize((width, height)))
    return drawing[None]


def reference_tokens(checkpoint: Checkpoint) -> tuple[TokenIds, TokenIds | None]:
    """Return the token ids `(1, length)` of the text, and their mask or None.

    A checkpoint whose tokenizer is missing has other ids, all of them in any vocabulary.

    Args:
        checkpoint: Whose tokenizer and text rules are used.
    """
    spec = checkpoint.text
    try:
        tokenizer = tokenizer_of(checkpoint, spec)
    except EncoderError:  # a tokenizer of another checkpoint may be used with it
        token_ids = np.arange(min(6, spec.max_length), dtype=np.int64)[None]
        if spec.padding == "longest":
            return token_ids, np.ones_like(token_ids)
        return np.resize(token_ids, (1, spec.max_length)), None
    return tokenizer([REFERENCE_TEXT])


def one_vector(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `(d,)` for the features of one input: its vector, or the mean of its tokens."""
    mean: NDArray[np.float32] = features.reshape(-1, features.shape[-1]).mean(axis=0)
    return mean
