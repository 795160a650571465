"""Chroma: collections of pictures and texts in one space."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from chromadb.api.types import DataLoader, Embeddable, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function
from numpy.typing import NDArray

from clip_image_encoder import ConfigurationError, ImageError, ImageLoader
from clip_image_encoder.arguments import check_count
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipEmbeddingFunction", "UprightImages"]

_SETTINGS = ("model", "revision", "backend", "device", "dtype", "batch_size")
# Vectors of other values of these can't be compared.
_FIXED = ("model", "revision")


@register_embedding_function
class ClipEmbeddingFunction(EmbeddingFunction[Embeddable]):  # type: ignore[misc]  # Chroma is not seen by the checker
    """What a collection embeds with: a `str` is a text, an array of `(height, width, 3)` is a picture.

    To add files, give the collection `UprightImages()` as its data loader, and add their paths as
    `uris`. A collection stores the settings, so that it is opened again with the same model; import this
    module before. A bad picture stops the call before anything of it is added, with an error that names it.

    Args:
        model: A hub id, a folder, or "tiny-shapes".
        revision: Branch, tag or commit on the hub; with one, the vectors stay comparable. None is the newest.
        backend: Name of the runtime that encodes images and texts; None is the runtime that an exported folder was
            made for, and torch for all others.
        device: Name of a device, as in `ImageEncoder`; None is the best there is.
        dtype: Type that images and texts are encoded in, as in `ImageEncoder`.
        batch_size: Number of images that pass the model at a time; None is 256 on CUDA devices, and 32 on others.

    Example:
        >>> import chromadb
        >>> import numpy as np
        >>> from clip_image_encoder.integrations.chroma import ClipEmbeddingFunction
        >>> pictures = chromadb.EphemeralClient().get_or_create_collection(
        ...     "pictures", embedding_function=ClipEmbeddingFunction("tiny-shapes")
        ... )
        >>> red, blue = np.zeros((2, 64, 64, 3), np.uint8)
        >>> red[..., 0] = blue[..., 2] = 255
        >>> pictures.upsert(ids=["red", "blue"], images=[red, blue])
        >>> pictures.query(query_texts=["something red"], n_results=1)["ids"]
        [['red']]
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        self._encoders = Encoders(
            model=model,
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            # Chroma's pictures are what numpy.array(PIL image) gives.
            loader=ImageLoader(channels="last"),
        )

    def __call__(self, input: Embeddable) -> Embeddings:  # noqa: A002 - Chroma checks the name
        """Return a vector for each text or picture, in their order.

        Raises:
            ImageError: An image can't be read; names its place in the call.
        """
        if all(isinstance(item, str) for item in input):
            return list(self._encoders.encode_texts(input))
        if any(isinstance(item, str) for item in input):
            raise ConfigurationError("a call has either texts or pictures; split it into two")
        return list(self._encoders.encode_images(input))

    @staticmethod
    def name() -> str:
        """Return the name in Chroma's registry."""
        return "clip_image_encoder"

    def default_space(self) -> Space:
        """Return "cosine": the vectors have length 1."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Return all spaces: for vectors of length 1 they give the same order."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """Return the settings that a collection stores."""
        return {name: getattr(self._encoders, name) for name in _SETTINGS}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ClipEmbeddingFunction:
        """Return the function that stored these settings."""
        ClipEmbeddingFunction.validate_config(config)
        return ClipEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Check stored settings.

        Raises:
            ConfigurationError: A setting has a name that is not known.
        """
        unknown = sorted(set(config) - set(_SETTINGS))
        if unknown:
            raise ConfigurationError(f"unknown settings {unknown}; there are {', '.join(_SETTINGS)}")

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Check that a collection keeps its model; device, dtype and the like may change.

        Raises:
            ConfigurationError: The collection has vectors of another model.
        """
        for name in _FIXED:
            if name in new_config and new_config[name] != old_config.get(name):
                raise ConfigurationError(
                    f"the collection has vectors of {name} {old_config.get(name)!r}; make another collection for "
                    f"{new_config[name]!r}"
                )


@dataclass(frozen=True, kw_only=True)
class UprightImages(DataLoader[list["NDArray[np.uint8] | None"]]):  # type: ignore[misc]
    """A data loader for `uris`: pictures as `ImageLoader` reads them, turned upright and without transparency.

    Chroma's own loader ignores EXIF orientation, and hands palettes on as if they were grey pictures.

    Args:
        loader: Reads the files.
        num_workers: Number of files that are read at a time.

    Example:
        >>> from clip_image_encoder.integrations.chroma import UprightImages
        >>> UprightImages()(["missing.jpg"])
        Traceback (most recent call last):
            ...
        clip_image_encoder.errors.ImageNotFoundError: image 0 (missing.jpg): no such file
    """

    loader: ImageLoader = field(default_factory=ImageLoader)
    num_workers: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_workers", check_count(self.num_workers, name="num_workers"))

    def __call__(self, uris: Sequence[str | None]) -> list[NDArray[np.uint8] | None]:
        """Return `(height, width, 3)` uint8 RGB for each path; None stays None.

        Raises:
            ImageError: An image can't be read; names its place and path.
        """
        with ThreadPoolExecutor(self.num_workers) as pool:
            return list(pool.map(self._load, range(len(uris)), uris))

    def _load(self, index: int, uri: str | None) -> NDArray[np.uint8] | None:
        if uri is None:
            return None
        try:
            return np.asarray(self.loader(uri))
        except ImageError as error:
            raise error.at(index) from error.__cause__
