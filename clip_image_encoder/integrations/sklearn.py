"""scikit-learn: pictures to vectors as a step of a Pipeline."""

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
    """A transformer from pictures to CLIP vectors; it learns nothing, and loads its model when it is fitted.

    Args:
        model: A hub id, a folder, or "tiny-shapes".
        backend: Name of the runtime; None is the one that an exported folder was made for, and torch for all others.
        device: Name of a device, as in `ImageEncoder`; None is the best there is.
        dtype: Type that the model computes in, as in `ImageEncoder`.
        batch_size: Number of images that pass the model at a time; None is 256 on CUDA devices, and 32 on others.
        on_error: "raise" stops at the first bad picture and names it; "nan" gives it a row of NaN, which
            most estimators refuse: put an imputer, or a filter, behind it.

    Example:
        >>> from PIL import Image
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> from sklearn.pipeline import make_pipeline
        >>> from clip_image_encoder.integrations.sklearn import ImageVectorizer
        >>> pipeline = make_pipeline(ImageVectorizer("tiny-shapes"), KNeighborsClassifier(1))
        >>> pictures = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
        >>> pipeline.fit(pictures, ["warm", "cold"]).predict([Image.new("RGB", (64, 64), "orange")])
        array(['warm'], dtype='<U4')
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        backend: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | None = None,
        on_error: Literal["raise", "nan"] = "raise",
    ) -> None:
        # As they are, with nothing else done: so scikit-learn clones it.
        self.model = model
        self.backend = backend
        self.device = device
        self.dtype = dtype
        self.batch_size = batch_size
        self.on_error = on_error

    def fit(self, X: Iterable[ImageInput] | None = None, y: Any = None) -> ImageVectorizer:  # noqa: ARG002, N803
        """Load the model; pictures and labels are not looked at.

        Raises:
            ConfigurationError: A parameter can't be had.
            CheckpointError: The checkpoint is missing, unreachable, damaged or unsafe.
        """
        self.encoder_ = ImageEncoder(self.model, backend=self.backend, device=self.device, dtype=self.dtype)
        return self

    def transform(self, X: Iterable[ImageInput]) -> NDArray[np.float32]:  # noqa: N803
        """Return the vectors `(n, d)`, float32 and of length 1, of n pictures.

        Raises:
            ImageError: An image can't be read, with `on_error="raise"`.
            NotFittedError: The transformer has not been fitted.
        """
        check_is_fitted(self)
        return self.encoder_.encode(X, self.batch_size, on_error=self.on_error)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return `clip0`, `clip1` and so on."""
        check_is_fitted(self)
        return np.array([f"clip{place}" for place in range(self.encoder_.dimension)], dtype=object)
