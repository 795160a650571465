"""MTEB: an encoder for the tasks of images, and of images and texts, that the benchmark measures models by."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction

from clip_image_encoder import ConfigurationError, ImageLoader
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders

__all__ = ["ClipEncoder"]


class ClipEncoder(AbsEncoder):  # type: ignore[misc]  # MTEB is not seen by the type checker
    """Encoder for `mteb.evaluate`, with every model, backend and dtype of this package.

    MTEB keeps results by the model's revision. Here that is the encoder's fingerprint, so that results of other
    weights, another backend or another dtype are never taken for this encoder's.

    Args:
        model_name: A hub id, a folder, or "tiny-shapes".
        revision: Branch, tag or commit on the hub; None means the newest.
        device: Name of a device, such as "cuda"; None means the best available.
        backend: Name of the runtime for images and texts; None means the runtime that an exported folder was made for,
            and torch otherwise.
        dtype: Type that both models compute in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        loader: Loader that turns MTEB's images into RGB; None means `ImageLoader()`.
        num_workers: Number of threads that load images; None means one for each core, 0 loads on the caller's thread.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        token: Access token of the hub; None means the stored one, if any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.
        batch_size: Number of images or texts in a forward pass, whatever `encode_kwargs` say; None means 128 on CUDA
            devices and 32 on others.

    Attributes:
        mteb_model_meta: MTEB's description of the model.

    Raises:
        ConfigurationError: An argument is wrong.
        CheckpointError: The checkpoint is missing, unreachable, damaged or unsafe.

    Example:
        >>> from clip_image_encoder.integrations.mteb import ClipEncoder
        >>> encoder = ClipEncoder("tiny-shapes")
        >>> encoder.mteb_model_meta.name, encoder.mteb_model_meta.embed_dim
        ('clip-image-encoder/tiny-shapes', 64)
    """

    def __init__(
        self,
        model_name: str | os.PathLike[str] = DEFAULT_MODEL,
        revision: str | None = None,
        *,
        device: str | None = None,
        backend: str | None = None,
        dtype: str = "auto",
        loader: ImageLoader | None = None,
        num_workers: int | None = None,
        load_in: Literal["threads", "processes"] = "threads",
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        batch_size: int | None = None,
    ) -> None:
        self._encoders = Encoders(
            model=model_name,
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
        )
        # Private attributes would do, but MTEB looks for this one.
        self.mteb_model_meta = ModelMeta.create_empty(
            {
                "name": _two_part_name(os.fspath(model_name)),
                "revision": self._encoders.fingerprint,
                "modalities": ["image", "text"],
                "embed_dim": self._encoders.dimension,
                "similarity_fn_name": ScoringFunction.COSINE,
            }
        )

    def encode(self, inputs: Any, **settings: Any) -> Vectors:  # noqa: ARG002 - MTEB says which task it is
        """Return the vectors `(n, d)` float32 of texts or of images; of both at once, the sum of the two.

        Args:
            inputs: MTEB's DataLoader, whose batches have "image", "text" or both.
            settings: The task, its split and `encode_kwargs`, which change nothing here.

        Raises:
            ConfigurationError: The batches have neither images nor texts.
        """
        kinds = {"image", "text"} & set(inputs.dataset.features)
        if kinds == {"image", "text"}:
            return self.get_fused_embeddings(inputs)
        if not kinds:
            raise ConfigurationError(f"the task has neither images nor texts, only {sorted(inputs.dataset.features)}")
        return self.get_image_embeddings(inputs) if "image" in kinds else self.get_text_embeddings(inputs)

    def get_image_embeddings(self, images: Iterable[Any], **settings: Any) -> Vectors:  # noqa: ARG002 - as above
        """Return the vectors `(n, d)` float32 of the images of all batches, in bounded memory.

        Args:
            images: Batches with "image", a list of PIL images.
            settings: MTEB's `encode_kwargs`, which change nothing here.
        """
        return self._encoders.encode_images(image for batch in images for image in batch["image"])

    def get_text_embeddings(self, texts: Iterable[Any], **settings: Any) -> Vectors:  # noqa: ARG002 - as above
        """Return the vectors `(n, d)` float32 of the texts of all batches.

        Args:
            texts: Batches with "text", a list of texts.
            settings: MTEB's `encode_kwargs`, which change nothing here.
        """
        return self._encoders.encode_texts(text for batch in texts for text in batch["text"])

    def get_fused_embeddings(self, pairs: Iterable[Any], **settings: Any) -> Vectors:  # noqa: ARG002 - as above
        """Return the sums `(n, d)` float32 of the vectors of images and their texts, as MTEB's own CLIP does.

        Args:
            pairs: Batches with both "image" and "text".
            settings: MTEB's `encode_kwargs`, which change nothing here.
        """
        texts: list[str] = []

        def images() -> Iterator[Any]:  # one way through the batches, which decode their images each time
            for batch in pairs:
                texts.extend(batch["text"])
                yield from batch["image"]

        return self._encoders.encode_images(images()) + self._encoders.encode_texts(texts)


def _two_part_name(model: str) -> str:
    """Return a model's name with the slash that MTEB wants: a hub id, or the last part of a path behind our name."""
    is_id = model.count("/") == 1 and not Path(model).exists()
    return model if is_id else f"clip-image-encoder/{Path(model).name}"
