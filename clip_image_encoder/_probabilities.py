"""What a cosine means to the checkpoint that it comes from: how likely a text is, among others or by itself."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ConfigurationError

__all__ = ["probabilities_of"]


def probabilities_of(
    images: Vectors, texts: Vectors, *, scale: float, bias: float, compared_by: Literal["softmax", "sigmoid"]
) -> NDArray[np.float32]:
    """Return how likely each text is for each image, `(n, m)` float32, or `(m,)` for one image.

    Args:
        images: Unit vectors `(n, d)`, or `(d,)` for one image.
        texts: Unit vectors `(m, d)`, or `(d,)` for one text.
        scale: Number that cosines are multiplied with.
        bias: Number that is added then.
        compared_by: "softmax" over all texts of an image, or "sigmoid" of each pair.

    Raises:
        ConfigurationError: The vectors have other shapes, or not the same length.
    """
    shapes = np.shape(images), np.shape(texts)
    if not all(1 <= len(shape) <= 2 for shape in shapes) or shapes[0][-1:] != shapes[1][-1:]:
        raise ConfigurationError(
            f"vectors must be (n, d) of images and (m, d) of texts, not {shapes[0]} and {shapes[1]}"
        )
    logits = np.asarray(images, np.float64) @ np.atleast_2d(np.asarray(texts, np.float64)).T * scale + bias
    if compared_by == "sigmoid":
        # Of the smaller power, so that neither overflows.
        powers = np.exp(-np.abs(logits))
        likely = np.where(logits < 0, powers, 1) / (1 + powers)
    else:
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        likely = powers / powers.sum(axis=-1, keepdims=True)
    found: NDArray[np.float32] = likely.astype(np.float32)
    return found
