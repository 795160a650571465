"""Daft: a provider for `embed_image` and `embed_text` of its data frames."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from daft import DataType
from daft.ai.protocols import ImageEmbedderDescriptor, TextEmbedderDescriptor
from daft.ai.provider import Provider
from daft.ai.typing import EmbeddingDimensions, UDFOptions
from daft.ai.utils import get_gpu_udf_options

from clip_image_encoder import ImageError, ImageLoader
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.checkpoint import DEFAULT_MODEL, open_checkpoint
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipProvider"]

_ROWS = 1024
"""Number of rows that Daft hands over at a time, so that the next images are loaded while a batch is encoded."""

_log = logging.getLogger(__name__)


class ClipProvider(Provider):  # type: ignore[misc]  # Daft is not seen by the type checker
    """Provider for `daft.functions.embed_image` and `embed_text`: pass it, or attach it to the session.

    A column of images holds paths, the content of files, or Daft's images; the vector of a null is null. Paths and
    contents are read by the loader, so that photos are upright, which Daft's own `decode_image` does not see to.

    Args:
        model: A hub id, a folder that every machine has, or "tiny-shapes"; `model=` of `embed_image` takes its place.
        name: Name in a session, "clip-image-encoder" by default.
        revision: Branch, tag or commit on the hub; a commit keeps later vectors comparable. None means the newest.
        backend: Name of the runtime for images and texts; None means the runtime that an exported folder was made for,
            and torch otherwise.
        device: Name of a device, such as "cpu"; None means the best available, and takes each GPU that Daft has.
        dtype: Type that both models compute in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        loader: Loader that reads the images; None means `ImageLoader(channels="last")`, which suits Daft's images.
        num_workers: Number of threads that load images; None means one for each core, 0 loads on the caller's thread.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        token: Access token of the hub; None means the stored one, if any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.
        batch_size: Number of images or texts in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.

    Raises:
        ConfigurationError: The batch size is not a positive integer.

    Example:
        >>> import daft
        >>> from PIL import Image
        >>> from daft.functions import embed_image
        >>> from clip_image_encoder.integrations.daft import ClipProvider
        >>> frame = daft.from_pydict({"path": ["missing.jpg"]})
        >>> vectors = embed_image(daft.col("path"), provider=ClipProvider("tiny-shapes"), on_error="ignore")
        >>> frame.with_column("embedding", vectors).to_pydict()
        {'path': ['missing.jpg'], 'embedding': [None]}
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        name: str = "clip-image-encoder",
        revision: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        loader: ImageLoader | None = None,
        num_workers: int | None = None,
        load_in: Literal["threads", "processes"] = "threads",
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> None:
        self._name = name
        self._encoders = Encoders(
            model=model,
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            loader=ImageLoader(channels="last") if loader is None else loader,
            num_workers=num_workers,
            load_in=load_in,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            batch_size=batch_size,
            normalize=normalize,
        )

    @property
    def name(self) -> str:
        """Name in a session."""
        return self._name

    def get_image_embedder(
        self,
        model: str | None = None,
        *,
        batch_size: int | None = None,
        max_retries: int = 0,
        on_error: Literal["raise", "log", "ignore"] = "raise",
    ) -> ImageEmbedderDescriptor:
        """Return what `embed_image` plans with; its options come from there.

        Args:
            model: Model instead of the provider's; None means the provider's.
            batch_size: Number of images in a forward pass; None means the provider's.
            max_retries: Number of times that Daft repeats a call that failed, 0 by default.
            on_error: "raise" ends the query at an image that can't be read, with an error that names it; "log" gives
                it a null and logs its error as a warning; "ignore" gives it a null.
        """
        return _ImageDescriptor(
            provider=self._name,
            encoders=self._with(model, batch_size),
            max_retries=max_retries,
            on_error=on_error,
        )

    def get_text_embedder(
        self,
        model: str | None = None,
        dimensions: int | None = None,  # noqa: ARG002 - Daft passes it; a vector has the length that it has
        *,
        batch_size: int | None = None,
        max_retries: int = 0,
    ) -> TextEmbedderDescriptor:
        """Return what `embed_text` plans with; its options come from there.

        Args:
            model: Model instead of the provider's; None means the provider's.
            dimensions: Not used: vectors have the model's length.
            batch_size: Number of texts in a forward pass; None means the provider's.
            max_retries: Number of times that Daft repeats a call that failed, 0 by default.
        """
        return _TextDescriptor(provider=self._name, encoders=self._with(model, batch_size), max_retries=max_retries)

    def _with(self, model: str | None, batch_size: int | None) -> Encoders:
        given = {"model": model, "batch_size": batch_size}
        changes = {name: value for name, value in given.items() if value is not None}
        # The same object where nothing changes, so that queries of one process share the loaded models.
        return replace(self._encoders, **changes) if changes else self._encoders  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class _Descriptor:
    """What a query is planned with, and what is sent to the machines that run it."""

    provider: str
    encoders: Encoders
    max_retries: int
    on_error: Literal["raise", "log", "ignore"] = "raise"

    def get_provider(self) -> str:
        return self.provider

    def get_model(self) -> str:
        return os.fspath(cast("str | os.PathLike[str]", self.encoders.model))  # ClipProvider takes no encoder

    def get_options(self) -> dict[str, Any]:
        return {"batch_size": self.encoders.batch_size, "max_retries": self.max_retries, "on_error": self.on_error}

    def get_dimensions(self) -> EmbeddingDimensions:
        # As the config says it, where it does: the machine that plans a query need not be able to run the model.
        encoders = self.encoders
        spec = open_checkpoint(
            self.get_model(),
            revision=encoders.revision,
            token=encoders.token,
            cache_dir=encoders.cache_dir,
            local_files_only=encoders.local_files_only,
        ).vision
        return EmbeddingDimensions(size=spec.dimension or encoders.dimension, dtype=DataType.float32())

    def get_udf_options(self) -> UDFOptions:
        options = UDFOptions() if self.encoders.device == "cpu" else get_gpu_udf_options()
        # "raise" whatever is asked for: bad images are seen to here, and if the model fails, Daft would give nulls to
        # all images of the call.
        rows = max(_ROWS, self.encoders.batch_size or 0)
        return replace(options, batch_size=rows, max_retries=self.max_retries, on_error="raise")


class _ImageDescriptor(_Descriptor, ImageEmbedderDescriptor):  # type: ignore[misc]
    def instantiate(self) -> _ImageEmbedder:
        self.encoders.encode_images([])  # here, before several threads would each load the model
        return _ImageEmbedder(self.encoders, self.on_error)


class _TextDescriptor(_Descriptor, TextEmbedderDescriptor):  # type: ignore[misc]
    def instantiate(self) -> _TextEmbedder:
        self.encoders.encode_texts([])
        return _TextEmbedder(self.encoders)


@dataclass(frozen=True)
class _ImageEmbedder:
    """The images of one call of Daft, a vector or None for each."""

    encoders: Encoders
    on_error: Literal["raise", "log", "ignore"]

    def embed_image(self, images: list[Any]) -> list[Vectors | None]:
        outcomes = self.encoders.image_outcomes(_input(image) for image in images if image is not None)
        return [None if image is None else self._vector(next(outcomes)) for image in images]

    def _vector(self, outcome: Vectors | ImageError) -> Vectors | None:
        if not isinstance(outcome, ImageError):
            return outcome
        if self.on_error == "raise":
            # Without the place in this call, which means nothing to the query's author.
            raise type(outcome)(outcome.reason, source=outcome.source) from outcome
        if self.on_error == "log":
            _log.warning("%s: %s", outcome.source, outcome.reason)
        return None


def _input(image: Any) -> Any:
    """Return an image as the encoder takes it; Daft lists local files as "file://" and the path, without escapes."""
    is_local = isinstance(image, str) and image.startswith("file://")
    return Path(image.removeprefix("file://")) if is_local else image


@dataclass(frozen=True)
class _TextEmbedder:
    """The texts of one call of Daft, a vector or None for each."""

    encoders: Encoders

    def embed_text(self, text: list[str | None]) -> list[Vectors | None]:
        vectors = iter(self.encoders.encode_texts(one for one in text if one is not None))
        return [None if one is None else next(vectors) for one in text]
