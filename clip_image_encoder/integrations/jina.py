"""CLIPImageEncoder and CLIPTextEncoder for Jina 3: they take the place of the executors of those names on Jina Hub.

Documents come in, and go out with their embeddings. Works with docarray 0.30 and newer.
"""

# No annotations as strings here: Jina reads an executor's schemas off its annotations.
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
from clip_image_encoder.arguments import check_count
from clip_image_encoder.checkpoint import DEFAULT_MODEL, open_checkpoint
from clip_image_encoder.pipeline import run
from clip_image_encoder.preprocess import preprocess_of

__all__ = ["CLIPImageEncoder", "CLIPTextEncoder", "ClipChunk", "ClipDocument"]

Paths = str | Sequence[str]


class ClipChunk(BaseDoc):  # type: ignore[misc]
    """A picture or a text.

    The first of `tensor`, `blob`, `bytes_`, `uri`, `url` that is there is the picture.

    Attributes:
        tensor: An array `(H, W, C)` or `(C, H, W)`, uint8, or float in 0..1.
        blob: The content of an image file.
        bytes_: The content of an image file, under the name of docarray's ImageDoc.
        uri: A path on the executor's machine, a data: URI, or a URL where those are allowed.
        url: A path, a data: URI or a URL, as in `uri`.
        text: A text for CLIPTextEncoder.
        embedding: Vector `(d,)`, float32, filled in by the executors.
        tags: Anything; its `error` says why an image has no embedding.
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
    """What both executors take and return: a picture or a text, and what belongs to it.

    Attributes:
        chunks: Parts of the document, reached by the access path `@c`.
        matches: What was found for the document, reached by `@m`.
    """

    # Never None: a Flow of several executors can't describe optional lists to its clients.
    chunks: DocList[ClipChunk] = Field(default_factory=DocList[ClipChunk])
    matches: DocList[ClipChunk] = Field(default_factory=DocList[ClipChunk])


class CLIPImageEncoder(Executor):  # type: ignore[misc]
    """Fills in the embeddings of pictures.

    Args:
        pretrained_model_name_or_path: A hub id, a folder, or "tiny-shapes".
        base_feature_extractor: Hub id or folder whose preprocessor config is used instead.
        use_default_preprocessing: False takes tensors, finite float32 `(3, H, W)`, as they are.
        device: "cpu", "cuda", "cuda:1" and so on.
        batch_size: Number of images that pass the model at a time; None is 256 on CUDA devices, and 32 on others.
        access_paths: "@r" for the documents, "@c" for their chunks, "@m" for their matches, "@r,c" for several.
        traversal_paths: The older spelling of `access_paths`, such as "r" or ["r", "c"].
        overwrite_embeddings: False leaves documents alone that have an embedding.
        normalize: False gives the model's own numbers, as the executor on Jina Hub did.
        on_error: "tag" puts a bad picture's error into its tags and serves the others; "raise" fails the request.
        allow_urls: Whether images are fetched from http(s) URLs, with the safeguards of `UrlPolicy`.
        backend: Name of the runtime; None is the one that an exported folder was made for, and torch for all others.
        dtype: Type that the model computes in, as in `ImageEncoder`.

    Raises:
        ConfigurationError: An argument can't be had.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_error not in ("tag", "raise"):
            raise ConfigurationError(f"on_error must be 'tag' or 'raise', not {on_error!r}")
        preprocess = None
        if base_feature_extractor:
            preprocess = preprocess_of(open_checkpoint(base_feature_extractor).preprocessor_config, exact=False)
        self._encoder = ImageEncoder(
            pretrained_model_name_or_path,
            backend=backend,
            preprocess=preprocess,
            loader=ImageLoader(urls=UrlPolicy() if allow_urls else None),
            device=device,
            dtype=dtype,
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
        **kwargs: Any,  # noqa: ARG002 - Jina hands over what not every executor wants
    ) -> DocList[ClipDocument]:
        """Fill in the embeddings of a request's pictures; documents without a picture pass untouched.

        Args:
            docs: None and empty requests are left as they are.
            parameters: `batch_size`, `access_paths` or `traversal_paths`, and `overwrite_embeddings`, for this request.
            kwargs: What else Jina hands over.
        """
        wanted = self._defaults | _requested(parameters)
        pictured = [(doc, image) for doc in _selected(docs, wanted) if (image := _image_of(doc)) is not None]
        images = [image for _, image in pictured]
        for batch in self._batches(images, wanted["batch_size"]):
            for index, outcome in batch.outcomes():
                doc = pictured[index][0]
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
    """Fills in the embeddings of texts, in the space of CLIPImageEncoder's with the same checkpoint.

    Args:
        pretrained_model_name_or_path: A hub id, a folder, or "tiny-shapes".
        base_tokenizer_model: Hub id or folder whose tokenizer is used instead.
        max_length: Number of tokens at which texts are cut.
        device: "cpu", "cuda", "cuda:1" and so on.
        batch_size: Number of texts that pass the model at a time; None is 256 on CUDA devices, and 32 on others.
        access_paths: Which documents are encoded, as in CLIPImageEncoder.
        traversal_paths: The older spelling of `access_paths`.
        overwrite_embeddings: False leaves documents alone that have an embedding.
        normalize: False gives the model's own numbers, as the executor on Jina Hub did.
        backend: Name of the runtime, as in CLIPImageEncoder.
        dtype: Type that the model computes in, as in `TextEncoder`.

    Raises:
        ConfigurationError: An argument can't be had.
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
        )
        self._defaults = _defaults(batch_size, traversal_paths or access_paths, overwrite_embeddings)
        self._normalize = normalize

    @requests  # type: ignore[untyped-decorator]  # Jina has no types
    def encode(
        self,
        docs: DocList[ClipDocument],
        parameters: dict[str, Any] | None = None,
        **kwargs: Any,  # noqa: ARG002 - Jina hands over what not every executor wants
    ) -> DocList[ClipDocument]:
        """Fill in the embeddings of a request's texts; documents without a text pass untouched.

        Args:
            docs: None and empty requests are left as they are.
            parameters: Settings for this request, as in CLIPImageEncoder.
            kwargs: What else Jina hands over.
        """
        wanted = self._defaults | _requested(parameters)
        written = [(doc, doc.text) for doc in _selected(docs, wanted) if doc.text]
        texts = [text for _, text in written]
        embeddings = self._encoder.encode(texts, wanted["batch_size"], normalize=self._normalize)
        for (doc, _), embedding in zip(written, embeddings, strict=True):
            doc.embedding = embedding
        return docs


def _defaults(batch_size: int | None, access_paths: Paths, overwrite_embeddings: bool) -> dict[str, Any]:
    """Return what holds for requests that don't say otherwise."""
    size = None if batch_size is None else check_count(batch_size, name="batch_size")
    return {"batch_size": size, "access_paths": access_paths, "overwrite_embeddings": overwrite_embeddings}


def _requested(parameters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a request's parameters under the names of today; those of other executors do no harm."""
    given = dict(parameters or {})
    if "traversal_paths" in given:
        given.setdefault("access_paths", given["traversal_paths"])
    size = given.get("batch_size")
    if isinstance(size, float) and size.is_integer():  # on their way to the executor all numbers become floats
        given["batch_size"] = int(size)
    return given


def _selected(docs: Iterable[ClipDocument] | None, wanted: Mapping[str, Any]) -> list[ClipChunk]:
    """Return the documents that the access paths lead to, and that need an embedding."""
    paths = wanted["access_paths"]
    parts = [part for path in ([paths] if isinstance(paths, str) else paths) for part in path.split(",")]
    names = [part.strip().removeprefix("@") for part in parts]
    if unknown := set(names) - {"r", "c", "m"}:
        raise ConfigurationError(f"access_paths: {', '.join(sorted(unknown))} is none of @r, @c and @m")
    found: list[ClipChunk] = []
    for doc in docs or ():
        for name in dict.fromkeys(names):
            found.extend({"r": [doc], "c": doc.chunks, "m": doc.matches}[name])
    return [doc for doc in found if wanted["overwrite_embeddings"] or doc.embedding is None]


def _image_of(doc: ClipChunk) -> Any:
    """Return a document's picture as an `ImageInput`, or None."""
    return doc.tensor if doc.tensor is not None else doc.blob or doc.bytes_ or doc.uri or doc.url or None


def _ready(tensor: object, *, size: tuple[int, int] | None) -> NDArray[np.float32]:
    """Return a tensor that is preprocessed already: finite float32 `(3, H, W)`, of a size if there is one."""
    array = np.asarray(tensor)
    if array.dtype != np.float32 or array.ndim != 3 or len(array) != 3 or size not in (None, array.shape[1:]):
        wanted = f"(3, {', '.join(map(str, size or 'HW'))})"
        reason = f"{array.dtype} {array.shape}; without preprocessing it must be float32 {wanted}"
        raise UnsupportedImageError(reason, source="tensor")
    if not np.isfinite(array).all():
        raise UnsupportedImageError("there are NaN or infinity in it", source="tensor")
    return array
