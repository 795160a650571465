"""Haystack: components that embed images of documents, and texts to find them by."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from haystack import Document, component, default_from_dict, default_to_dict

from clip_image_encoder import ImageError
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipDocumentImageEmbedder", "ClipTextEmbedder"]

_SETTINGS = (
    "model",
    "revision",
    "backend",
    "device",
    "dtype",
    "cache_dir",
    "local_files_only",
    "normalize",
)
_IMAGE_SETTINGS = (*_SETTINGS, "num_workers", "load_in", "batch_size")


@component
class ClipDocumentImageEmbedder:
    """Component that sets the `embedding` of documents to the vectors of their images.

    The image of a document is the content of its `blob`, or else the file that its metadata name. A document whose
    image can't be read is returned without an embedding, and with the reason in its metadata, as `error`.

    Args:
        model: A hub id, a folder, or "tiny-shapes".
        file_path_meta_field: Name of the metadata with the path of a document's file, "file_path" by default.
        root_path: Folder that relative paths start from; None means the current folder.
        revision: Branch, tag or commit on the hub; a commit keeps later vectors comparable. None means the newest.
        backend: Name of the runtime; None means the one that an exported folder was made for, and torch otherwise.
        device: Name of a device, such as "cuda"; None means the best available.
        dtype: Type that the model computes in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        num_workers: Number of threads that load images; None means one for each core, 0 loads on the caller's thread.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.
        batch_size: Number of images in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.

    Raises:
        ConfigurationError: The batch size is not a positive integer.

    Example:
        >>> from haystack import Document
        >>> from clip_image_encoder.integrations.haystack import ClipDocumentImageEmbedder
        >>> embedder = ClipDocumentImageEmbedder("tiny-shapes")
        >>> (document,) = embedder.run([Document(meta={"file_path": "missing.jpg"})])["documents"]
        >>> document.embedding, document.meta["error"]
        (None, 'missing.jpg: no such file')
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        file_path_meta_field: str = "file_path",
        root_path: str | None = None,
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
            model=os.fspath(model),
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
        )
        self._field = file_path_meta_field
        self._root = root_path

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as Haystack stores them with a pipeline."""
        settings = {name: getattr(self._encoders, name) for name in _IMAGE_SETTINGS}
        data: dict[str, Any] = default_to_dict(self, file_path_meta_field=self._field, root_path=self._root, **settings)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ClipDocumentImageEmbedder:
        """Return a component with stored settings.

        Args:
            data: What `to_dict` returned.
        """
        restored: ClipDocumentImageEmbedder = default_from_dict(cls, data)
        return restored

    def warm_up(self) -> None:
        """Load the model; otherwise the first run loads it."""
        self._encoders.encode_images([])

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]  # Haystack is not seen by the checker
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Return new documents under "documents", each with an `embedding` or with an `error` in its metadata.

        Args:
            documents: Documents with a `blob` or with the path of a file in their metadata.
        """
        images = [self._image(document) for document in documents]
        outcomes = self._encoders.image_outcomes(image for image in images if image is not None)
        missing = f"it has no blob, and no path as {self._field!r} in its metadata"
        return {
            "documents": [
                _embedded(document, missing if image is None else next(outcomes))
                for document, image in zip(documents, images, strict=True)
            ]
        }

    @component.output_types(documents=list[Document])  # type: ignore[untyped-decorator]
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """Do the same as `run` without blocking the event loop while the model computes.

        Args:
            documents: Documents with a `blob` or with the path of a file in their metadata.
        """
        self.warm_up()  # here, so that calls beside each other do not each load the model
        return await asyncio.to_thread(self.run, documents)

    def _image(self, document: Document) -> bytes | Path | None:
        if document.blob is not None:
            content: bytes = document.blob.data
            return content
        path = document.meta.get(self._field)
        return Path(self._root or "", path) if isinstance(path, (str, os.PathLike)) else None


@component
class ClipTextEmbedder:
    """Component that returns the vector of a text, to compare with those of `ClipDocumentImageEmbedder`.

    Args:
        model: A hub id, a folder, or "tiny-shapes"; the model of the images.
        revision: Branch, tag or commit on the hub; a commit keeps later vectors comparable. None means the newest.
        backend: Name of the runtime; None means the one that an exported folder was made for, and torch otherwise.
        device: Name of a device, such as "cuda"; None means the best available.
        dtype: Type that the model computes in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.

    Example:
        >>> from clip_image_encoder.integrations.haystack import ClipTextEmbedder
        >>> len(ClipTextEmbedder("tiny-shapes").run("something red")["embedding"])
        64
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        cache_dir: str | None = None,
        local_files_only: bool = False,
        normalize: bool = True,
    ) -> None:
        self._encoders = Encoders(
            model=os.fspath(model),
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            normalize=normalize,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as Haystack stores them with a pipeline."""
        settings = {name: getattr(self._encoders, name) for name in _SETTINGS}
        data: dict[str, Any] = default_to_dict(self, **settings)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ClipTextEmbedder:
        """Return a component with stored settings.

        Args:
            data: What `to_dict` returned.
        """
        restored: ClipTextEmbedder = default_from_dict(cls, data)
        return restored

    def warm_up(self) -> None:
        """Load the model; otherwise the first run loads it."""
        self._encoders.encode_texts([])

    @component.output_types(embedding=list[float])  # type: ignore[untyped-decorator]
    def run(self, text: str) -> dict[str, Any]:
        """Return the vector under "embedding", as a list of d floats.

        Args:
            text: Text to encode.
        """
        return {"embedding": self._encoders.encode_texts([text])[0].tolist()}

    @component.output_types(embedding=list[float])  # type: ignore[untyped-decorator]
    async def run_async(self, text: str) -> dict[str, Any]:
        """Do the same as `run` without blocking the event loop while the model computes.

        Args:
            text: Text to encode.
        """
        self.warm_up()
        return await asyncio.to_thread(self.run, text)


def _embedded(document: Document, outcome: Vectors | ImageError | str) -> Document:
    """Return a copy of a document with its vector, or with the reason why it has none."""
    meta = {name: value for name, value in document.meta.items() if name != "error"}
    if isinstance(outcome, ImageError):
        outcome = f"{outcome.source}: {outcome.reason}"
    if isinstance(outcome, str):
        return replace(document, embedding=None, meta={**meta, "error": outcome})
    return replace(document, embedding=outcome.tolist(), meta=meta)
