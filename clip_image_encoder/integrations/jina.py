"""Executors for Jina 3: CLIPImageEncoder and CLIPTextEncoder replace the executors of those names on Jina Hub.

They fill in the embeddings of the documents of a request. They need docarray 0.30 or newer.
"""

# Without `from __future__ import annotations`: Jina reads an executor's schemas from annotations that are types.
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from docarray import BaseDoc, DocList
from docarray.typing import AnyTensor, NdArray
from jina import Executor, requests
from numpy.typing import NDArray
from pydantic import Field

from clip_image_encoder import (
    ConfigurationError,
    EncodedBatch,
    ImageEncoder,
    ImageError,
    ImageLoader,
    TextEncoder,
    UnsupportedImageError,
    UrlPolicy,
)
from clip_image_encoder.arguments import check_batch_size
from clip_image_encoder.checkpoint import DEFAULT_MODEL, open_checkpoint
from clip_image_encoder.pipeline import run
from clip_image_encoder.preprocess import preprocess_of

__all__ = ["CLIPImageEncoder", "CLIPTextEncoder", "ClipChunk", "ClipDocument"]

Paths = str | Sequence[str]


class ClipChunk(BaseDoc):  # type: ignore[misc]
    """Document with an image or a text, as a part of a `ClipDocument`.

    The image is the first of `tensor`, `blob`, `bytes_`, `uri` and `url` that is set.

    Attributes:
        tensor: Image as an array `(H, W, C)` or `(C, H, W)`, uint8, or float in 0..1.
        blob: Content of an image file.
        bytes_: Content of an image file, under the name that docarray's ImageDoc has for it.
        uri: Path on the executor's machine, data: URI, or URL if the executor has `allow_urls=True`.
        url: Path, data: URI or URL, as in `uri`.
        text: Text for CLIPTextEncoder.
        embedding: Vector `(d,)` float32, set by the executors.
        tags: Values of any kind; "error" says why an image has no embedding.
    """

    tensor: AnyTensor | None = None
    blob: bytes | None = None
    bytes_: bytes | None = None
    uri: str | None = None
    url: str | None = None
    text: str | None = None
    embedding: NdArray | None = None
    tags: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies defaults


class ClipDocument(ClipChunk):
    """Document that both executors take and return: an image or a text, with its chunks and matches.

    Attributes:
        chunks: Parts of the document, which the access path `@c` selects.
        matches: Search results for the document, which the access path `@m` selects.
    """

    # Lists, never None: a Flow of several executors fails to make the schema of an optional list for its clients.
    chunks: DocList[ClipChunk] = Field(default_factory=DocList[ClipChunk])
    matches: DocList[ClipChunk] = Field(default_factory=DocList[ClipChunk])


class CLIPImageEncoder(Executor):  # type: ignore[misc]
    """Executor that sets the embeddings of documents with images.

    Args:
        pretrained_model_name_or_path: A hub id, a folder, or "tiny-shapes".
        base_feature_extractor: Hub id or folder whose preprocessor config is used; None means the model's own.
        use_default_preprocessing: Whether images are preprocessed; False takes only tensors that are, finite float32
            `(3, H, W)` at the model's size.
        device: Name of the device: "cpu", "cuda", "cuda:1" and so on.
        batch_size: Number of images in a forward pass; None means 128 on CUDA devices and 32 on others.
        access_paths: Documents to encode: "@r" for those of the request, "@c" for their chunks, "@m" for their
            matches, "@r,c" for several of these.
        traversal_paths: Older name of `access_paths`, with values such as "r" or ["r", "c"]; None means that
            `access_paths` applies.
        overwrite_embeddings: Whether documents that have an embedding get a new one; False leaves them unchanged.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers, as the executor
            on Jina Hub did.
        on_error: "tag" puts the error of an image that can't be read into its tags and encodes the others; "raise"
            fails the request.
        allow_urls: Whether images are fetched from http(s) URLs, within the limits of `UrlPolicy()`.
        backend: Name of the runtime; None means the one that an exported folder was made for, and torch otherwise.
        dtype: Type that the model computes in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        num_workers: Number of threads that load images; None means one for each core, 0 loads on the caller's thread.
        token: Access token of the hub; None means the stored one, if any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.

    Raises:
        ConfigurationError: An argument is wrong.
        CheckpointError: The checkpoint is missing, unreachable, damaged or unsafe.
    """

    def __init__(
        self,
        pretrained_model_name_or_path: str = DEFAULT_MODEL,
        base_feature_extractor: str | None = None,
        use_default_preprocessing: bool = True,
        device: str = "cpu",
        batch_size: int | None = None,
        access_paths: Paths = "@r",
        traversal_paths: Paths | None = None,
        *,
        overwrite_embeddings: bool = True,
        normalize: bool = True,
        on_error: Literal["tag", "raise"] = "tag",
        allow_urls: bool = False,
        backend: str | None = None,
        dtype: str = "auto",
        revision: str | None = None,
        num_workers: int | None = None,
        token: str | bool | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_error not in ("tag", "raise"):
            raise ConfigurationError(f"on_error must be 'tag' or 'raise', not {on_error!r}")
        preprocess = None
        if base_feature_extractor:
            checkpoint = open_checkpoint(
                base_feature_extractor, token=token, cache_dir=cache_dir, local_files_only=local_files_only
            )
            preprocess = preprocess_of(checkpoint.preprocessor_config, exact=False)
        self._encoder = ImageEncoder(
            pretrained_model_name_or_path,
            backend=backend,
            preprocess=preprocess,
            loader=ImageLoader(urls=UrlPolicy() if allow_urls else None),
            device=device,
            dtype=dtype,
            revision=revision,
            num_workers=num_workers,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        self._preprocessing = use_default_preprocessing
        self._device = device
        self._defaults = _defaults(batch_size, traversal_paths or access_paths, overwrite_embeddings)
        self._normalize = normalize
        self._on_error = on_error

    @requests  # type: ignore[untyped-decorator]  # Jina has no types
    def encode(
        self,
        docs: DocList[ClipDocument],
        parameters: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 - Jina passes further arguments that this executor does not use
    ) -> DocList[ClipDocument]:
        """Set the embeddings of a request's documents with images, and return all documents.

        Args:
            docs: Documents of the request; None and empty requests are returned as they are.
            parameters: Values for this request of `batch_size`, `access_paths`, `traversal_paths` and
                `overwrite_embeddings`; None means those of the constructor.
            kwargs: Further arguments of Jina, not used.

        Raises:
            ImageError: An image can't be read, and `on_error` is "raise".
            ConfigurationError: A parameter is wrong.
        """
        wanted = self._defaults | _requested(parameters)
        found = [(doc, image) for doc in _selected(docs, wanted) if (image := _image_of(doc)) is not None]
        images = [image for _, image in found]
        for batch in self._batches(images, wanted["batch_size"]):
            for index, outcome in batch.outcomes():
                doc = found[index][0]
                if not isinstance(outcome, ImageError):
                    doc.embedding = outcome
                elif self._on_error == "raise":
                    raise ImageError(str(outcome), source=f"document {doc.id}") from outcome
                else:
                    doc.embedding = None
                    doc.tags["error"] = str(outcome)
        return docs

    def _batches(self, images: list[Any], size: int) -> Iterable[EncodedBatch]:
        if self._preprocessing:
            return self._encoder.stream(images, size, normalize=self._normalize, show_progress=False)
        return run(
            images,
            partial(_ready, size=self._encoder.backend.image_size),
            backend=self._encoder.backend,
            pooling=self._encoder.pooling,
            device=self._device,
            batch_size=size,
            num_workers=0,
            normalize=self._normalize,
            on_error="nan",
        )


class CLIPTextEncoder(Executor):  # type: ignore[misc]
    """Executor that sets the embeddings of documents with texts, to compare with CLIPImageEncoder's of the same model.

    Args:
        pretrained_model_name_or_path: A hub id, a folder, or "tiny-shapes".
        base_tokenizer_model: Hub id or folder whose tokenizer is used; None means the model's own.
        max_length: Number of tokens that a longer text is cut to, 77 by default.
        device: Name of the device: "cpu", "cuda", "cuda:1" and so on.
        batch_size: Number of texts in a forward pass; None means 128 on CUDA devices and 32 on others.
        access_paths: Documents to encode: "@r" for those of the request, "@c" for their chunks, "@m" for their
            matches, "@r,c" for several of these.
        traversal_paths: Older name of `access_paths`, with values such as "r" or ["r", "c"]; None means that
            `access_paths` applies.
        overwrite_embeddings: Whether documents that have an embedding get a new one; False leaves them unchanged.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers, as the executor
            on Jina Hub did.
        backend: Name of the runtime; None means the one that an exported folder was made for, and torch otherwise.
        dtype: Type that the model computes in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        token: Access token of the hub; None means the stored one, if any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.

    Raises:
        ConfigurationError: An argument is wrong.
        CheckpointError: The checkpoint is missing, unreachable, damaged, or has no text tower.
    """

    def __init__(
        self,
        pretrained_model_name_or_path: str = DEFAULT_MODEL,
        base_tokenizer_model: str | None = None,
        max_length: int = 77,
        device: str = "cpu",
        batch_size: int | None = None,
        access_paths: Paths = "@r",
        traversal_paths: Paths | None = None,
        *,
        overwrite_embeddings: bool = True,
        normalize: bool = True,
        backend: str | None = None,
        dtype: str = "auto",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._encoder = TextEncoder(
            pretrained_model_name_or_path,
            backend=backend,
            tokenizer=base_tokenizer_model,
            max_length=max_length,
            device=device,
            dtype=dtype,
            revision=revision,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
        )
        self._defaults = _defaults(batch_size, traversal_paths or access_paths, overwrite_embeddings)
        self._normalize = normalize

    @requests  # type: ignore[untyped-decorator]  # Jina has no types
    def encode(
        self,
        docs: DocList[ClipDocument],
        parameters: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 - Jina passes further arguments that this executor does not use
    ) -> DocList[ClipDocument]:
        """Set the embeddings of a request's documents with texts, and return all documents.

        Args:
            docs: Documents of the request; None and empty requests are returned as they are.
            parameters: Values for this request of `batch_size`, `access_paths`, `traversal_paths` and
                `overwrite_embeddings`; None means those of the constructor.
            kwargs: Further arguments of Jina, not used.

        Raises:
            ConfigurationError: A parameter is wrong.
        """
        wanted = self._defaults | _requested(parameters)
        written = [(doc, doc.text) for doc in _selected(docs, wanted) if doc.text]
        texts = [text for _, text in written]
        embeddings = self._encoder.encode(texts, wanted["batch_size"], normalize=self._normalize)
        for (doc, _), embedding in zip(written, embeddings, strict=True):
            doc.embedding = embedding
        return docs


def _defaults(batch_size: int | None, access_paths: Paths, overwrite_embeddings: bool) -> dict[str, Any]:
    """Return the values of the parameters that a request may set."""
    size = check_batch_size(batch_size)
    return {"batch_size": size, "access_paths": access_paths, "overwrite_embeddings": overwrite_embeddings}


def _requested(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a request's parameters under their present names; it may have parameters for other executors, too."""
    given = dict(parameters or {})
    if "traversal_paths" in given:
        given.setdefault("access_paths", given["traversal_paths"])
    size = given.get("batch_size")
    if isinstance(size, float) and size.is_integer():  # protobuf's Struct turns all numbers into floats
        given["batch_size"] = int(size)
    return given


def _selected(docs: Iterable[ClipDocument] | None, wanted: Mapping[str, Any]) -> list[ClipChunk]:
    """Return the documents that the access paths select and that need an embedding."""
    paths = wanted["access_paths"]
    parts = [part for path in ([paths] if isinstance(paths, str) else paths) for part in path.split(",")]
    names = [part.strip().removeprefix("@") for part in parts]
    if unknown := set(names) - {"r", "c", "m"}:
        raise ConfigurationError(f"access_paths must be of @r, @c and @m, not {', '.join(sorted(unknown))}")
    found: list[ClipChunk] = []
    for doc in docs or ():
        for name in dict.fromkeys(names):
            found.extend({"r": [doc], "c": doc.chunks, "m": doc.matches}[name])
    return [doc for doc in found if wanted["overwrite_embeddings"] or doc.embedding is None]


def _image_of(doc: ClipChunk) -> Any:
    """Return a document's image as an `ImageInput`, or None."""
    return doc.tensor if doc.tensor is not None else doc.blob or doc.bytes_ or doc.uri or doc.url or None


def _ready(tensor: object, *, size: tuple[int, int] | None) -> NDArray[np.float32]:
    """Return a tensor that is preprocessed already, if it is finite float32 `(3, H, W)` of the given size.

    Args:
        tensor: Tensor of a document.
        size: Size `(height, width)` that the backend takes; None allows any size.

    Raises:
        UnsupportedImageError: The tensor is something else.
    """
    array = np.asarray(tensor)
    if array.dtype != np.float32 or array.ndim != 3 or len(array) != 3 or size not in (None, array.shape[1:]):
        wanted = f"(3, {', '.join(map(str, size or 'HW'))})"
        reason = f"{array.dtype} {array.shape}; without preprocessing it must be float32 {wanted}"
        raise UnsupportedImageError(reason, source="tensor")
    if not np.isfinite(array).all():
        raise UnsupportedImageError("it has NaN or infinite numbers", source="tensor")
    return array
