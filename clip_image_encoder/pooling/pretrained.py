"""The pooling that the checkpoint was trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clip_image_encoder.arrays import Vectors

__all__ = ["PretrainedPooling"]


@dataclass(frozen=True, kw_only=True)
class PretrainedPooling:
    """Keeps what the checkpoint's own pooling gives; the default.

    That is the projected class token for CLIP, the attention head for SigLIP and SigLIP2, and the
    class token for DINOv2 and ViT. Only this one lands where text vectors of the checkpoint live.

    Example:
        >>> import numpy as np
        >>> PretrainedPooling()(np.ones((2, 512), np.float32)).shape
        (2, 512)
    """

    @property
    def reads(self) -> Literal["pooled"]:
        """Asks the backend for its pooled output."""
        return "pooled"

    def __call__(self, features: Vectors, /) -> Vectors:
        """Return `features`, `(n, d)` float32, as they are."""
        return features
