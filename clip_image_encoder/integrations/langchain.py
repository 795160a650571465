"""LangChain: texts and pictures in one space, for its vector stores."""

from __future__ import annotations

import os
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

from clip_image_encoder import ImageInput, ImageLoader
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipEmbeddings"]


class ClipEmbeddings(Embeddings):  # type: ignore[misc]  # LangChain is not seen by the type checker
    """LangChain's `Embeddings`, and `embed_image` for the vector stores that take pictures.

    A bad picture stops the call, with an error that names it: a vector store has no place for the
    missing vector.

    Args:
        model: A hub id, a folder, or "tiny-shapes".
        revision: Branch, tag or commit on the hub; with one, the vectors stay comparable. None is the newest.
        backend: Name of the runtime that encodes images and texts; None is the runtime that an exported folder was
            made for, and torch for all others.
        device: Name of a device, as in `ImageEncoder`; None is the best there is.
        dtype: Type that images and texts are encoded in, as in `ImageEncoder`.
        loader: Reads the images; None is `ImageLoader()`. With `ImageLoader(urls=UrlPolicy())` the uris may be URLs.
        batch_size: Number of texts or images that pass the model at a time; None is 256 on CUDA devices, and 32 on
            others.

    Example:
        >>> from PIL import Image
        >>> from clip_image_encoder.integrations.langchain import ClipEmbeddings
        >>> embeddings = ClipEmbeddings("tiny-shapes")
        >>> (red,) = embeddings.embed_image([Image.new("RGB", (64, 64), "red")])
        >>> right, wrong = embeddings.embed_documents(["something red", "something blue"])
        >>> sum(a * b for a, b in zip(red, right)) > sum(a * b for a, b in zip(red, wrong))
        True
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        loader: ImageLoader | None = None,
        batch_size: int | None = None,
    ) -> None:
        self._encoders = Encoders(
            model=model,
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            loader=loader,
            batch_size=batch_size,
        )

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors `(n, d)` of n texts, of length 1."""
        vectors: list[list[float]] = self._encoders.encode_texts(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector `(d,)` of a text, of length 1."""
        return self.embed_documents([text])[0]

    def embed_image(self, uris: Sequence[ImageInput]) -> list[list[float]]:
        """Return the vectors `(n, d)` of n pictures, of length 1: paths, or what else `ImageEncoder` takes.

        Raises:
            ImageError: An image can't be read; names its place and path.
        """
        vectors: list[list[float]] = self._encoders.encode_images(uris).tolist()
        return vectors
