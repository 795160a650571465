"""Both towers of a checkpoint, by settings that a database can store as JSON."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from clip_image_encoder import ImageEncoder, ImageInput, ImageLoader, TextEncoder
from clip_image_encoder._arguments import check_batch_size
from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder.arrays import Vectors

__all__ = ["Encoders"]


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """The encoder of pictures and the encoder of texts, each loaded when it is first needed.

    Attributes:
        model: a hub id, a folder, or "tiny-shapes".
        revision: branch, tag or commit on the hub.
        backend: of the pictures, as in `ImageEncoder`; texts are encoded by torch.
        device: of both.
        dtype: of the pictures.
        loader: of the pictures.
        batch_size: of both.

    Raises:
        ConfigurationError: the batch size is no positive integer.
    """

    model: str | os.PathLike[str] = DEFAULT_MODEL
    revision: str | None = None
    backend: str = "torch"
    device: str | None = None
    dtype: str = "auto"
    loader: ImageLoader | None = None
    batch_size: int = 32

    def __post_init__(self) -> None:
        # As Python's int, which databases can store.
        object.__setattr__(self, "batch_size", check_batch_size(self.batch_size))

    def encode_images(self, images: Iterable[ImageInput], *, on_error: Literal["raise", "nan"] = "raise") -> Vectors:
        """Return `(n, d)` vectors of pictures."""
        return self._images.encode(images, self.batch_size, on_error=on_error, show_progress=False)

    def encode_texts(self, texts: Iterable[str]) -> Vectors:
        """Return `(n, d)` vectors of texts."""
        return self._texts.encode(list(texts), self.batch_size)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._images.dimension

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
        return TextEncoder(self.model, revision=self.revision, device=self.device)
