"""LangChain: embeddings of texts and images for its vector stores."""

from __future__ import annotations

import os
from collections.abc import Sequence

from langchain_core.embeddings import Embeddings

from clip_image_encoder import ImageInput, ImageLoader
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipEmbeddings"]


class ClipEmbeddings(Embeddings):  # type: ignore[misc]  # LangChain is not seen by the type checker
    """Implements LangChain's `Embeddings`, with `embed_image` for the vector stores that take images.

    An image that can't be read stops the call with an error that names it, since a vector store can't store a
    missing vector.

    Args:
        model: A hub id, a folder, or "tiny-shapes".
        revision: Branch, tag or commit on the hub; a commit keeps later vectors comparable. None means the newest.
        backend: Name of the runtime for images and texts; None means the runtime that an exported folder was made for,
            and torch otherwise.
        device: Name of a device, such as "cuda"; None means the best available.
        dtype: Type that both models compute in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        loader: Loader that reads the images; None means `ImageLoader()`. With `ImageLoader(urls=UrlPolicy())` images
            may be URLs.
        batch_size: Number of texts or images in a forward pass; None means 128 on CUDA devices and 32 on others.

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
        """Return the vectors of texts, as n lists of d floats, of length 1.

        Args:
            texts: Texts to encode, n of them.
        """
        vectors: list[list[float]] = self._encoders.encode_texts(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text, as a list of d floats, of length 1.

        Args:
            text: Text to encode.
        """
        return self.embed_documents([text])[0]

    def embed_image(self, uris: Sequence[ImageInput]) -> list[list[float]]:
        """Return the vectors of images, as n lists of d floats, of length 1.

        Args:
            uris: Paths of images, or other inputs of `ImageEncoder`, n of them.

        Raises:
            ImageError: An image can't be read; the message names its place and path.
        """
        vectors: list[list[float]] = self._encoders.encode_images(uris).tolist()
        return vectors
