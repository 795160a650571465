"""LlamaIndex: embeddings of images and texts for its multi-modal indexes."""

from __future__ import annotations

import asyncio
from functools import partial
from io import BytesIO
from typing import Annotated, Any, Literal

from llama_index.core.embeddings import MultiModalEmbedding
from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, PrivateAttr

from clip_image_encoder.arguments import check_count
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipEmbedding"]


class ClipEmbedding(MultiModalEmbedding):  # type: ignore[misc]  # LlamaIndex is not seen by the type checker
    """Implements LlamaIndex's `MultiModalEmbedding`: images and texts in one space, with all its async methods.

    An image that can't be read stops the call with an error that names it, since an index can't store a missing
    vector. An unknown argument is an error of pydantic.

    Attributes:
        model_name: A hub id, a folder, or "tiny-shapes"; the argument may be called `model`, too.
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
        embed_batch_size: Number of images or texts that LlamaIndex hands over at a time, 256 by default; no forward
            pass has more.

    Example:
        >>> from PIL import Image
        >>> from io import BytesIO
        >>> from clip_image_encoder.integrations.llama_index import ClipEmbedding
        >>> embedding = ClipEmbedding(model="tiny-shapes")
        >>> Image.new("RGB", (64, 64), "red").save(file := BytesIO(), "PNG")
        >>> red = embedding.get_image_embedding(file)
        >>> right, wrong = embedding.get_text_embedding_batch(["something red", "something blue"])
        >>> bool(embedding.similarity(red, right) > embedding.similarity(red, wrong))
        True
    """

    model_config = ConfigDict(extra="forbid")

    model_name: str = Field(DEFAULT_MODEL, validation_alias=AliasChoices("model", "model_name"))
    revision: str | None = None
    backend: str | None = None
    device: str | None = None
    dtype: str = "auto"
    # Checked before pydantic, which would convert strings and True to int; its error quotes our message.
    num_workers: Annotated[int, BeforeValidator(partial(check_count, name="num_workers", least=0))] | None = None
    load_in: Literal["threads", "processes"] = "threads"
    cache_dir: str | None = None
    local_files_only: bool = False
    batch_size: Annotated[int, BeforeValidator(partial(check_count, name="batch_size"))] | None = None
    normalize: bool = True
    embed_batch_size: int = Field(256, gt=0, le=2048)  # LlamaIndex's own is 10, and 2048 its limit

    _encoders: Encoders = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:  # noqa: D102 - pydantic's hook
        super().model_post_init(context)
        self._encoders = Encoders(
            model=self.model_name,
            revision=self.revision,
            backend=self.backend,
            device=self.device,
            dtype=self.dtype,
            num_workers=self.num_workers,
            load_in=self.load_in,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
            batch_size=self.batch_size,
            normalize=self.normalize,
        )

    @classmethod
    def class_name(cls) -> str:
        """Return "ClipImageEncoder", the name in LlamaIndex's JSON."""
        return "ClipImageEncoder"

    def _get_image_embeddings(self, img_file_paths: list[str | BytesIO]) -> list[list[float]]:
        vectors: list[list[float]] = self._encoders.encode_images(img_file_paths).tolist()
        return vectors

    def _get_image_embedding(self, img_file_path: str | BytesIO) -> list[float]:
        return self._get_image_embeddings([img_file_path])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._encoders.encode_texts(texts).tolist()
        return vectors

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    # LlamaIndex awaits many batches at once. Each model is loaded by the event loop's own thread, with the empty
    # lists below; otherwise threads beside each other would each load it.

    async def _aget_image_embeddings(self, img_file_paths: list[str | BytesIO]) -> list[list[float]]:
        self._get_image_embeddings([])
        return await asyncio.to_thread(self._get_image_embeddings, img_file_paths)

    async def _aget_image_embedding(self, img_file_path: str | BytesIO) -> list[float]:
        return (await self._aget_image_embeddings([img_file_path]))[0]

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        self._get_text_embeddings([])
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await self._aget_text_embedding(query)
