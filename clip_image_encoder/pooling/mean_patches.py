"""The mean of the patch tokens as the vector of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from clip_image_encoder.arrays import Tokens, Vectors
from clip_image_encoder.pooling.class_token import starts_with_class_token

__all__ = ["MeanPatchesPooling"]


@dataclass(frozen=True, kw_only=True)
class MeanPatchesPooling:
    """Averages the patch tokens and leaves out the class token.

    Patches say more about texture and layout than the class token, which helps to find duplicates
    and similar pictures. The mean is taken after the projection, in the space of the vectors.

    Example:
        >>> import numpy as np
        >>> MeanPatchesPooling()(np.ones((2, 1 + 49, 512), np.float32)).shape
        (2, 512)
    """

    @property
    def reads(self) -> Literal["tokens"]:
        """Asks the backend for every token."""
        return "tokens"

    def __call__(self, features: Tokens, /) -> Vectors:
        """Return the mean patch of each picture, `(n, d)` float32.

        Args:
            features: tokens, `(n, 1 + patches, d)` or, of a model without a class token,
                `(n, patches, d)`, float32; they are not changed.

        Raises:
            ConfigurationError: the number of tokens tells nothing about a class token.
        """
        patches = features[:, 1:] if starts_with_class_token(features) else features
        mean: Vectors = patches.mean(axis=1, dtype=np.float32)
        return mean
