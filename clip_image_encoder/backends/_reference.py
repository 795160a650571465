"""What every runtime must make of one image and one text, within what its dtype explains."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.errors import BackendError
from clip_image_encoder.tiny_shapes.draw import Scene, draw

__all__ = ["REFERENCE_TEXT", "check_reference", "reference_pixels"]

REFERENCE_TEXT = "a photo of a red circle beside a blue star"

_COSINES = {"float32": 0.9999, "float16": 0.999, "bfloat16": 0.999, "int8": 0.9}
"""What a vector must reach to that of float32; int8 is judged by many images when it is made."""


def reference_pixels(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a drawing, `(1, height, width, 3)`.

    Args:
        size: `(height, width)` in pixels.
    """
    height, width = size
    drawing: NDArray[np.uint8] = np.asarray(draw(Scene(colour="red", shape="star")).resize((width, height)))
    return drawing[None]


def check_reference(vectors: NDArray[np.float32], reference: Sequence[float], *, dtype: str, name: str) -> None:
    """Check that a runtime gives the vector that it should.

    Args:
        vectors: What it gave, `(1, d)`.
        reference: What float32 gives in torch, d numbers.
        dtype: The dtype that the runtime computes in.
        name: The checkpoint as messages call it.

    Raises:
        BackendError: It gives another one.
    """
    expected = np.asarray(reference, np.float64)
    found = vectors[0].astype(np.float64)
    lengths = np.linalg.norm(expected) * np.linalg.norm(found)
    cosine = float(expected @ found / lengths) if found.shape == expected.shape and lengths else 0.0
    if not cosine >= _COSINES[dtype]:
        raise BackendError(
            f"{name}: the runtime gives another vector than was exported: their cosine is {cosine:.4f}, and {dtype} "
            f"explains {_COSINES[dtype]}; another version of the runtime, or another device, may give the right one"
        )
