"""Encoders of images and texts of one checkpoint, with settings that a database can store as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from clip_image_encoder import ImageEncoder, ImageError, ImageInput, ImageLoader, TextEncoder
from clip_image_encoder.arguments import check_batch_size
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.checkpoint import DEFAULT_MODEL

__all__ = ["Encoders"]


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """Image encoder and text encoder of one checkpoint, each loaded when it is first needed.

    Attributes:
        model: A hub id, a folder, or "tiny-shapes".
        revision: Branch, tag or commit on the hub; None means the newest commit.
        backend: Name of the runtime for images and texts; None means the runtime that an exported folder was made for,
            and torch otherwise.
        device: Name of the device that both encoders run on; None means the best available.
        dtype: Type that both encoders compute in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        loader: Loader that reads the images; None means `ImageLoader()`.
        batch_size: Number of images or texts in a forward pass; None means 128 on CUDA devices and 32 on others.

    Raises:
        ConfigurationError: The batch size is not a positive integer.
    """

    model: str | os.PathLike[str] = DEFAULT_MODEL
    revision: str | None = None
    backend: str | None = None
    device: str | None = None
    dtype: str = "auto"
    loader: ImageLoader | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        # Python's int, not numpy's, so that databases can store it.
        object.__setattr__(self, "batch_size", check_batch_size(self.batch_size))

    def encode_images(self, images: Iterable[ImageInput], *, on_error: Literal["raise", "nan"] = "raise") -> Vectors:
        """Return the vectors `(n, d)` float32 of images, in their order."""
        return self._images.encode(images, self.batch_size, on_error=on_error, show_progress=False)

    def image_outcomes(self, images: Iterable[ImageInput]) -> Iterator[Vectors | ImageError]:
        """Yield the vector `(d,)` float32 or the error of each image, in their order."""
        for batch in self._images.stream(images, self.batch_size, show_progress=False):
            for _, outcome in batch.outcomes():
                yield outcome

    def encode_texts(self, texts: Iterable[str]) -> Vectors:
        """Return the vectors `(n, d)` float32 of texts, in their order."""
        return self._texts.encode(list(texts), self.batch_size)

    @property
    def dimension(self) -> int:
        """Length of a vector: the number of its float32 values."""
        return self._images.dimension

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and the settings: encoders with one fingerprint give equal vectors of images."""
        return self._images.fingerprint

    @cached_property
    def _images(self) -> ImageEncoder:
        return ImageEncoder(
            self.model,
            revision=self.revision,
            backend=self.backend,
            device=self.device,
            dtype=self.dtype,
            loader=self.loader,
        )

    @cached_property
    def _texts(self) -> TextEncoder:
        return TextEncoder(
            self.model, revision=self.revision, backend=self.backend, device=self.device, dtype=self.dtype
        )
