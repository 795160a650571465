"""The mean of the patch tokens as the vector of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from clip_image_encoder.arrays import Tokens, Vectors

__all__ = ["MeanPatchesPooling"]


@dataclass(frozen=True, kw_only=True)
class MeanPatchesPooling:
    """Takes the mean of the patch tokens as the vector, without class and register tokens.

    Patch tokens tell more about texture and layout than the class token, which helps to find duplicates
    and similar images. The mean is taken after the projection, in the space of the vectors.

    Example:
        >>> import numpy as np
        >>> MeanPatchesPooling()(np.ones((2, 49, 512), np.float32)).shape
        (2, 512)
    """

    @property
    def reads(self) -> Literal["patches"]:
        """Output of the backend that it needs: the patch tokens alone."""
        return "patches"

    def __call__(self, features: Tokens, /) -> Vectors:
        """Return the mean of the patch tokens of each image, `(n, d)` float32.

        Args:
            features: Patch tokens, `(n, patches, d)` float32; they are not changed.
        """
        mean: Vectors = features.mean(axis=1, dtype=np.float32)
        return mean
