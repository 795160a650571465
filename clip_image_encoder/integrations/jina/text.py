"""The executor of texts."""

# Without `from __future__ import annotations`: Jina reads an executor's schemas from annotations that are types.
from typing import Any

from docarray import DocList
from jina import Executor, requests

from clip_image_encoder import TextEncoder
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations.jina.documents import ClipDocument, Paths, defaults, requested, selected

__all__ = ["CLIPTextEncoder"]


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
        self._defaults = defaults(batch_size, traversal_paths or access_paths, overwrite_embeddings)
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
        wanted = self._defaults | requested(parameters)
        written = [(doc, doc.text) for doc in selected(docs, wanted) if doc.text]
        texts = [text for _, text in written]
        embeddings = self._encoder.encode(texts, wanted["batch_size"], normalize=self._normalize)
        for (doc, _), embedding in zip(written, embeddings, strict=True):
            doc.embedding = embedding
        return docs
