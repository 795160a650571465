"""LanceDB: tables of images that are searched by words or by other images."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from lancedb.embeddings import EmbeddingFunction, register
from numpy.typing import NDArray
from pydantic import BeforeValidator, PrivateAttr

from clip_image_encoder import ImageInput
from clip_image_encoder.arguments import check_count
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipEmbeddings"]


@register("clip-image-encoder")
class ClipEmbeddings(EmbeddingFunction):  # type: ignore[misc]  # LanceDB is not seen by the type checker
    """Embedding function of LanceDB tables, "clip-image-encoder" in its registry.

    The source column holds paths or the content of image files. A query that is a `str` is a text; any other
    input of `ImageEncoder` is an image. A table stores the settings, and is opened again with the same model if
    this module has been imported; a token of the hub is not among them.

    Attributes:
        model: A hub id, a folder, or "tiny-shapes".
        revision: Branch, tag or commit on the hub; a commit keeps later vectors comparable. None means the newest.
        backend: Name of the runtime for images and texts; None means the runtime that an exported folder was made for,
            and torch otherwise.
        device: Name of a device, such as "cuda"; None means the best available. With `"$var:device:cpu"` each machine
            sets its own.
        dtype: Type that both models compute in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        num_workers: Number of threads that load images; None means one for each core, 0 loads on the caller's thread.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.
        batch_size: Number of images or texts in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
        on_error: "raise" adds no row if an image can't be read, and raises LanceDB's RuntimeError with a message that
            names it. "nan" warns, and `on_bad_vectors` of `Table.add` decides whether the row is dropped or kept
            with a null.

    Example:
        >>> import tempfile
        >>> import lancedb
        >>> from lancedb.embeddings import EmbeddingFunctionConfig
        >>> from PIL import Image
        >>> from clip_image_encoder.integrations.lancedb import ClipEmbeddings
        >>> clip = ClipEmbeddings.create(model="tiny-shapes")
        >>> config = EmbeddingFunctionConfig(source_column="path", vector_column="vector", function=clip)
        >>> folder = tempfile.mkdtemp()
        >>> for color in ("red", "blue"):
        ...     Image.new("RGB", (64, 64), color).save(f"{folder}/{color}.png")
        >>> rows = [{"path": f"{folder}/red.png"}, {"path": f"{folder}/blue.png"}]
        >>> table = lancedb.connect(folder).create_table("images", rows, embedding_functions=[config])
        >>> table.search("something red").limit(1).to_list()[0]["path"].endswith("red.png")
        True
    """

    model: str = DEFAULT_MODEL
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
    on_error: Literal["raise", "nan"] = "raise"

    _encoders: Encoders = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:  # noqa: D102 - pydantic's hook
        super().model_post_init(context)
        self._encoders = Encoders(**self.model_dump(exclude={"on_error", "max_retries"}))

    def ndims(self) -> int:
        """Return the length of a vector, the number of its float32 values."""
        return self._encoders.dimension

    def compute_source_embeddings(self, images: Any) -> list[NDArray[np.float32]]:
        """Return a vector `(d,)` float32 for each image.

        Args:
            images: Column of pyarrow or list of images.

        Raises:
            ImageError: An image can't be read, and `on_error` is "raise".
        """
        several = images.to_pylist() if isinstance(images, (pa.Array, pa.ChunkedArray)) else images
        return list(self._encoders.encode_images(several, on_error=self.on_error))

    def compute_query_embeddings(self, query: str | ImageInput) -> list[NDArray[np.float32]]:
        """Return a list with the vector `(d,)` float32 of a text or an image.

        Args:
            query: Text, or any input of `ImageEncoder`.

        Raises:
            ImageError: The image can't be read.
        """
        encoded = (
            self._encoders.encode_texts([query]) if isinstance(query, str) else self._encoders.encode_images([query])
        )
        return list(encoded)

    # Without retries, which are meant for web services: LanceDB would retry for minutes and hide the error.
    compute_source_embeddings_with_retry = compute_source_embeddings
    compute_query_embeddings_with_retry = compute_query_embeddings
