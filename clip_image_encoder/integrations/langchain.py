"""LangChain: embeddings of texts and images for its vector stores."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from langchain_core.embeddings import Embeddings

from clip_image_encoder import ImageEncoder, ImageInput, ImageLoader, TextEncoder
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipEmbeddings"]


class ClipEmbeddings(Embeddings):  # type: ignore[misc]  # LangChain is not seen by the type checker
    """Implements LangChain's `Embeddings`, with `embed_image` for the vector stores that take images.

    An image that can't be read stops the call with an error that names it, since a vector store can't store a
    missing vector.

    Args:
        encoder: Name of a model: a hub id, a folder, or "tiny-shapes". Also an `ImageEncoder`, which has settings of
            its own; the arguments from `revision` to `local_files_only` are for a name.
        text_encoder: Encoder of the texts; None means the one of the same name and settings. With an `ImageEncoder`,
            texts need the `TextEncoder` of its checkpoint.
        revision: Branch, tag or commit on the hub; a commit keeps later vectors comparable. None means the newest.
        backend: Name of the runtime for images and texts; None means the runtime that an exported folder was made for,
            and torch otherwise.
        device: Name of a device, such as "cuda"; None means the best available.
        dtype: Type that both models compute in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        loader: Loader that reads the images; None means `ImageLoader()`. With `ImageLoader(urls=UrlPolicy())` images
            may be URLs.
        num_workers: Number of threads that load images; None means one for each core, 0 loads on the caller's thread.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        token: Access token of the hub; None means the stored one, if any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.
        batch_size: Number of texts or images in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.

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
        encoder: ImageEncoder | str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        text_encoder: TextEncoder | None = None,
        revision: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        loader: ImageLoader | None = None,
        num_workers: int | None = None,
        load_in: Literal["threads", "processes"] = "threads",
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> None:
        self._encoders = Encoders(
            model=encoder,
            text_encoder=text_encoder,
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            loader=loader,
            num_workers=num_workers,
            load_in=load_in,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            batch_size=batch_size,
            normalize=normalize,
        )

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return the vectors of texts, as n lists of d floats.

        Args:
            texts: Texts to encode, n of them.
        """
        vectors: list[list[float]] = self._encoders.encode_texts(texts).tolist()
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a text, as a list of d floats.

        Args:
            text: Text to encode.
        """
        return self.embed_documents([text])[0]

    def embed_image(self, uris: Sequence[ImageInput]) -> list[list[float]]:
        """Return the vectors of images, as n lists of d floats.

        Args:
            uris: Paths of images, or other inputs of `ImageEncoder`, n of them.

        Raises:
            ImageError: An image can't be read; the message names its place and path.
        """
        vectors: list[list[float]] = self._encoders.encode_images(uris).tolist()
        return vectors
