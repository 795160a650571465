"""The executor of images."""

# Without `from __future__ import annotations`: Jina reads an executor's schemas from annotations that are types.
from collections.abc import Iterable
from functools import partial
from typing import Any, Literal

import numpy as np
from docarray import DocList
from jina import Executor, requests
from numpy.typing import NDArray

from clip_image_encoder import (
    ConfigurationError,
    EncodedBatch,
    ImageEncoder,
    ImageError,
    ImageLoader,
    UnsupportedImageError,
    UrlPolicy,
)
from clip_image_encoder.checkpoint import DEFAULT_MODEL, open_checkpoint
from clip_image_encoder.integrations.jina.documents import (
    ClipChunk,
    ClipDocument,
    Paths,
    defaults,
    requested,
    selected,
)
from clip_image_encoder.pipeline import run
from clip_image_encoder.preprocess import preprocess_of

__all__ = ["CLIPImageEncoder"]


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
        self._defaults = defaults(batch_size, traversal_paths or access_paths, overwrite_embeddings)
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
        wanted = self._defaults | requested(parameters)
        found = [(doc, image) for doc in selected(docs, wanted) if (image := _image_of(doc)) is not None]
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
