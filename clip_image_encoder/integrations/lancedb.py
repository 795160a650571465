"""LanceDB: a table that embeds its pictures, and finds them by words or by other pictures."""

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
    """The embedding function "clip-image-encoder" of LanceDB's registry.

    The source column holds paths or the content of image files; a query is a text if it is a `str`,
    and a picture if it is anything else that `ImageEncoder` takes. A table stores the settings, so that
    it is opened again with the same model; import this module before.

    Attributes:
        model: A hub id, a folder, or "tiny-shapes".
        revision: Branch, tag or commit on the hub; with one, the vectors stay comparable. None is the newest.
        backend: Name of the runtime that encodes images and texts; None is the runtime that an exported folder was
            made for, and torch for all others.
        device: Name of a device, as in `ImageEncoder`; `"$var:device:cpu"` lets each machine say its own.
        dtype: Type that images and texts are encoded in, as in `ImageEncoder`.
        batch_size: Number of images that pass the model at a time; None is 256 on CUDA devices, and 32 on others.
        on_error: "raise" adds nothing when a picture is bad; LanceDB's RuntimeError has our message, which
            names it. "nan" warns, and leaves it to the `on_bad_vectors` of `Table.add`, which may drop the
            row or keep it with a null.

    Example:
        >>> import tempfile
        >>> import lancedb
        >>> from lancedb.embeddings import EmbeddingFunctionConfig
        >>> from PIL import Image
        >>> from clip_image_encoder.integrations.lancedb import ClipEmbeddings
        >>> clip = ClipEmbeddings.create(model="tiny-shapes")
        >>> config = EmbeddingFunctionConfig(source_column="path", vector_column="vector", function=clip)
        >>> folder = tempfile.mkdtemp()
        >>> for colour in ("red", "blue"):
        ...     Image.new("RGB", (64, 64), colour).save(f"{folder}/{colour}.png")
        >>> rows = [{"path": f"{folder}/red.png"}, {"path": f"{folder}/blue.png"}]
        >>> table = lancedb.connect(folder).create_table("pictures", rows, embedding_functions=[config])
        >>> table.search("something red").limit(1).to_list()[0]["path"].endswith("red.png")
        True
    """

    model: str = DEFAULT_MODEL
    revision: str | None = None
    backend: str | None = None
    device: str | None = None
    dtype: str = "auto"
    # Before pydantic, which takes texts and True for numbers; what it raises quotes our message.
    batch_size: Annotated[int, BeforeValidator(partial(check_count, name="batch_size"))] | None = None
    on_error: Literal["raise", "nan"] = "raise"

    _encoders: Encoders = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:  # noqa: D102 - pydantic's hook
        super().model_post_init(context)
        self._encoders = Encoders(**self.model_dump(exclude={"on_error", "max_retries"}))

    def ndims(self) -> int:
        """Return the length of a vector."""
        return self._encoders.dimension

    def compute_source_embeddings(self, images: Any) -> list[NDArray[np.float32]]:
        """Return a vector for each picture of a column, or of a list.

        Raises:
            ImageError: An image can't be read, with `on_error="raise"`.
        """
        several = images.to_pylist() if isinstance(images, (pa.Array, pa.ChunkedArray)) else images
        return list(self._encoders.encode_images(several, on_error=self.on_error))

    def compute_query_embeddings(self, query: str | ImageInput) -> list[NDArray[np.float32]]:
        """Return the vector of a text or a picture, alone in a list.

        Raises:
            ImageError: The image can't be read.
        """
        encoded = (
            self._encoders.encode_texts([query]) if isinstance(query, str) else self._encoders.encode_images([query])
        )
        return list(encoded)

    # What fails on this machine fails again: LanceDB would try for minutes, and hide the error.
    compute_source_embeddings_with_retry = compute_source_embeddings
    compute_query_embeddings_with_retry = compute_query_embeddings
