"""Probabilities of texts for images, computed from cosines as a checkpoint was trained to: by softmax or sigmoid."""

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
    """Return the probability of each text for each image, `(n, m)` float32, or `(m,)` for one image.

    The logits are `cosine * scale + bias`; "softmax" as in CLIP (arXiv:2103.00020), "sigmoid" as in SigLIP
    (arXiv:2303.15343).

    Args:
        images: Unit vectors `(n, d)` of images, or `(d,)` of one image.
        texts: Unit vectors `(m, d)` of texts, or `(d,)` of one text.
        scale: Number that cosines are multiplied by.
        bias: Number that is added to the scaled cosines.
        compared_by: "softmax" over all texts of an image, or "sigmoid" of each pair.

    Raises:
        ConfigurationError: The vectors have other shapes, or their lengths differ.
    """
    shapes = np.shape(images), np.shape(texts)
    if not all(1 <= len(shape) <= 2 for shape in shapes) or shapes[0][-1:] != shapes[1][-1:]:
        raise ConfigurationError(
            f"vectors must be (n, d) of images and (m, d) of texts, not {shapes[0]} and {shapes[1]}"
        )
    logits = np.asarray(images, np.float64) @ np.atleast_2d(np.asarray(texts, np.float64)).T * scale + bias
    if compared_by == "sigmoid":
        # exp of a negative number only, which can't overflow: 1 / (1 + e^-x) = e^x / (1 + e^x).
        powers = np.exp(-np.abs(logits))
        likely = np.where(logits < 0, powers, 1) / (1 + powers)
    else:
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        likely = powers / powers.sum(axis=-1, keepdims=True)
    found: NDArray[np.float32] = likely.astype(np.float32)
    return found
