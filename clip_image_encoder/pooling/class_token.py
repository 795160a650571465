"""The class token as the vector of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import Literal

from clip_image_encoder.arrays import Tokens, Vectors
from clip_image_encoder.errors import ConfigurationError

__all__ = ["ClassTokenPooling", "starts_with_class_token"]


@dataclass(frozen=True, kw_only=True)
class ClassTokenPooling:
    """Takes the class token, after the final layer norm and the projection.

    Raises, when called:
        ConfigurationError: the model has no class token (SigLIP, SigLIP2).

    Example:
        >>> import numpy as np
        >>> ClassTokenPooling()(np.ones((2, 1 + 49, 512), np.float32)).shape
        (2, 512)
    """

    @property
    def reads(self) -> Literal["tokens"]:
        """Asks the backend for every token."""
        return "tokens"

    def __call__(self, features: Tokens, /) -> Vectors:
        """Return the class token of each picture, `(n, d)`.

        Args:
            features: tokens, `(n, 1 + patches, d)` float32; they are not changed.
        """
        if not starts_with_class_token(features):
            raise ConfigurationError("this model has no class token; pool its patches or leave pooling=None")
        return features[:, 0]


def starts_with_class_token(features: Tokens) -> bool:
    """Tell whether tokens `(n, tokens, d)` start with a class token, by their number.

    Patches lie on a square grid in every model that is read here, so that their number is a square
    and one more than a square means a class token.

    Raises:
        ConfigurationError: the number of tokens is neither.
    """
    count = features.shape[1]
    if isqrt(count) ** 2 == count:
        return False
    if isqrt(count - 1) ** 2 == count - 1:
        return True
    raise ConfigurationError(f"{count} tokens are neither a square grid of patches nor one with a class token")
