"""scikit-learn: a transformer from images to vectors, as a step of a Pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from clip_image_encoder import ImageEncoder, ImageInput
from clip_image_encoder.checkpoint import DEFAULT_MODEL

__all__ = ["ImageVectorizer"]


class ImageVectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Transformer from images to CLIP vectors; `fit` loads the model and learns nothing.

    Args:
        encoder: An `ImageEncoder`, or the name of a model: a hub id, a folder, or "tiny-shapes".
        batch_size: Number of images in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
        on_error: "raise" stops at the first image that can't be read and names it; "nan" gives it a row of NaN, which
            most estimators refuse: add an imputer or a filter as the next step.

    Example:
        >>> from PIL import Image
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> from sklearn.pipeline import make_pipeline
        >>> from clip_image_encoder.integrations.sklearn import ImageVectorizer
        >>> pipeline = make_pipeline(ImageVectorizer("tiny-shapes"), KNeighborsClassifier(1))
        >>> images = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
        >>> pipeline.fit(images, ["warm", "cold"]).predict([Image.new("RGB", (64, 64), "orange")])
        array(['warm'], dtype='<U4')
    """

    def __init__(
        self,
        encoder: ImageEncoder | str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        batch_size: int | None = None,
        normalize: bool = True,
        on_error: Literal["raise", "nan"] = "raise",
    ) -> None:
        # scikit-learn's clone() requires that the constructor stores its arguments unchanged, without checks.
        self.encoder = encoder
        self.batch_size = batch_size
        self.normalize = normalize
        self.on_error = on_error

    def fit(self, X: Iterable[ImageInput] | None = None, y: Any = None) -> ImageVectorizer:  # noqa: ARG002, N803
        """Load the model, and return the transformer.

        Args:
            X: Images, not used.
            y: Labels, not used.

        Raises:
            ConfigurationError: A parameter is wrong.
            CheckpointError: The checkpoint is missing, unreachable, damaged or unsafe.
        """
        self.encoder_ = self.encoder if isinstance(self.encoder, ImageEncoder) else ImageEncoder(self.encoder)
        return self

    def transform(self, X: Iterable[ImageInput]) -> NDArray[np.float32]:  # noqa: N803
        """Return the vectors of images, float32 `(n, d)`.

        Args:
            X: Images, n inputs of `ImageEncoder`.

        Raises:
            ImageError: An image can't be read, and `on_error` is "raise".
            NotFittedError: The transformer has not been fitted.
        """
        check_is_fitted(self)
        return self.encoder_.encode(X, self.batch_size, normalize=self.normalize, on_error=self.on_error)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return the names of the d columns: `clip0`, `clip1` and so on.

        Args:
            input_features: Names of the inputs, not used.
        """
        check_is_fitted(self)
        return np.array([f"clip{place}" for place in range(self.encoder_.dimension)], dtype=object)
