"""The pooling that the checkpoint was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clip_image_encoder.arrays import Vectors

__all__ = ["PretrainedPooling"]


@dataclass(frozen=True, kw_only=True)
class PretrainedPooling:
    """Takes the vector of the checkpoint's own pooling; it is the default.

    That pooling is the projected class token in CLIP, the attention head in SigLIP and SigLIP2, and the class
    token in DINOv2 and ViT. Only with it are the vectors of images comparable with those of texts.

    Example:
        >>> import numpy as np
        >>> PretrainedPooling()(np.ones((2, 512), np.float32)).shape
        (2, 512)
    """

    @property
    def reads(self) -> Literal["pooled"]:
        """Output of the backend that it needs: the pooled one."""
        return "pooled"

    def __call__(self, features: Vectors, /) -> Vectors:
        """Return the vectors as they are.

        Args:
            features: Pooled output of the backend, one vector for each image, `(n, d)` float32.
        """
        return features
