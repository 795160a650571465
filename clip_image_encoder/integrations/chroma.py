"""Chroma: collections of images that are searched by words or by other images."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from chromadb.api.types import DataLoader, Embeddable, EmbeddingFunction, Embeddings, Space
from chromadb.utils.embedding_functions import register_embedding_function
from numpy.typing import NDArray

from clip_image_encoder import ConfigurationError, ImageError, ImageLoader
from clip_image_encoder.arguments import check_count
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipEmbeddingFunction", "UprightImages"]

_SETTINGS = (
    "model",
    "revision",
    "backend",
    "device",
    "dtype",
    "num_workers",
    "load_in",
    "cache_dir",
    "local_files_only",
    "batch_size",
    "normalize",
)
# Settings that a collection can't change, since vectors made with different values can't be compared, and their
# values in collections that don't store them.
_FIXED = {"model": None, "revision": None, "normalize": True}


@register_embedding_function
class ClipEmbeddingFunction(EmbeddingFunction[Embeddable]):  # type: ignore[misc]  # Chroma is not seen by the checker
    """Embedding function of a Chroma collection: a `str` is a text, an array `(height, width, 3)` is an image.

    To add files, give the collection `UprightImages()` as its data loader, and add their paths as
    `uris`. A collection stores the settings, and is opened again with the same model if this
    module has been imported; a token of the hub is not among them. An image that can't be read raises an error that
    names it, before any vector of the call is added.

    Args:
        model: A hub id, a folder, or "tiny-shapes".
        revision: Branch, tag or commit on the hub; a commit keeps later vectors comparable. None means the newest.
        backend: Name of the runtime for images and texts; None means the runtime that an exported folder was made for,
            and torch otherwise.
        device: Name of a device, such as "cuda"; None means the best available.
        dtype: Type that both models compute in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        num_workers: Number of threads that load images; None means one for each core, 0 loads on the caller's thread.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.
        batch_size: Number of images or texts in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.

    Example:
        >>> import chromadb
        >>> import numpy as np
        >>> from clip_image_encoder.integrations.chroma import ClipEmbeddingFunction
        >>> images = chromadb.EphemeralClient().get_or_create_collection(
        ...     "images", embedding_function=ClipEmbeddingFunction("tiny-shapes")
        ... )
        >>> red, blue = np.zeros((2, 64, 64, 3), np.uint8)
        >>> red[..., 0] = blue[..., 2] = 255
        >>> images.upsert(ids=["red", "blue"], images=[red, blue])
        >>> images.query(query_texts=["something red"], n_results=1)["ids"]
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
        num_workers: int | None = None,
        load_in: Literal["threads", "processes"] = "threads",
        cache_dir: str | None = None,
        local_files_only: bool = False,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> None:
        self._encoders = Encoders(
            model=model,
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            num_workers=num_workers,
            load_in=load_in,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            batch_size=batch_size,
            normalize=normalize,
            # Chroma's images are arrays as numpy.array(PIL image) gives them: (height, width, 3).
            loader=ImageLoader(channels="last"),
        )

    def __call__(self, input: Embeddable) -> Embeddings:  # noqa: A002 - Chroma checks the name
        """Return a vector `(d,)` float32 for each text or image, in their order.

        Args:
            input: Texts or images of one call, not both.

        Raises:
            ImageError: An image can't be read; the message names its place in the call.
            ConfigurationError: The call has both texts and images.
        """
        if all(isinstance(item, str) for item in input):
            return list(self._encoders.encode_texts(input))
        if any(isinstance(item, str) for item in input):
            raise ConfigurationError("a call has both texts and images; make one call for each")
        return list(self._encoders.encode_images(input))

    @staticmethod
    def name() -> str:
        """Return "clip_image_encoder", the name in Chroma's registry."""
        return "clip_image_encoder"

    def default_space(self) -> Space:
        """Return "cosine", Chroma's distance for new collections."""
        return "cosine"

    def supported_spaces(self) -> list[Space]:
        """Return all of Chroma's distances, which rank vectors of length 1 in the same order."""
        return ["cosine", "l2", "ip"]

    def get_config(self) -> dict[str, Any]:
        """Return the settings that a collection stores."""
        return {name: getattr(self._encoders, name) for name in _SETTINGS}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ClipEmbeddingFunction:
        """Return an embedding function with stored settings.

        Args:
            config: Settings from `get_config`.

        Raises:
            ConfigurationError: A setting has an unknown name.
        """
        ClipEmbeddingFunction.validate_config(config)
        return ClipEmbeddingFunction(**config)

    @staticmethod
    def validate_config(config: dict[str, Any]) -> None:
        """Check the names of stored settings.

        Args:
            config: Settings from `get_config`.

        Raises:
            ConfigurationError: A setting has an unknown name.
        """
        unknown = sorted(set(config) - set(_SETTINGS))
        if unknown:
            raise ConfigurationError(f"unknown settings {unknown}; known: {', '.join(_SETTINGS)}")

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Check that new settings keep a collection's model, revision and normalize; the others may change.

        Args:
            old_config: Settings that the collection has.
            new_config: Settings that it is to get.

        Raises:
            ConfigurationError: The collection has vectors of another model, revision or length.
        """
        for name, before in _FIXED.items():
            old = old_config.get(name, before)
            if new_config.get(name, old) != old:
                raise ConfigurationError(
                    f"the collection has vectors of {name} {old!r}; make another collection for {new_config[name]!r}"
                )


@dataclass(frozen=True, kw_only=True)
class UprightImages(DataLoader[list["NDArray[np.uint8] | None"]]):  # type: ignore[misc]
    """Data loader for `uris`: it reads images as `ImageLoader` does, upright and without transparency.

    Chroma's own loader ignores EXIF orientation, and returns the indices of a palette image as if they were gray
    values.

    Args:
        loader: Loader that reads the files; `ImageLoader()` by default.
        num_workers: Number of threads that read files, 8 by default.

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
        """Read images, and return uint8 RGB `(height, width, 3)` for each path.

        Args:
            uris: Paths of the images; None gives None.

        Raises:
            ImageError: An image can't be read; the message names its place and path.
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
