"""The class token as the vector of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from clip_image_encoder.arrays import Tokens, Vectors

__all__ = ["ClassTokenPooling"]


@dataclass(frozen=True, kw_only=True)
class ClassTokenPooling:
    """Takes the class token as the vector, after the final layer norm and the projection.

    An encoder of a model without a class token, such as SigLIP or SigLIP 2, can't be made with it.

    Example:
        >>> import numpy as np
        >>> ClassTokenPooling()(np.ones((2, 1, 512), np.float32)).shape
        (2, 512)
    """

    @property
    def reads(self) -> Literal["prefix"]:
        """Output of the backend that it needs: the tokens before the patches, of which the class token is the first."""
        return "prefix"

    def __call__(self, features: Tokens, /) -> Vectors:
        """Return the class token of each image, `(n, d)` float32.

        Args:
            features: Class token and register tokens, `(n, prefix_tokens, d)` float32; they are not changed.
        """
        return features[:, 0]
