"""Hugging Face datasets: a function for `Dataset.map` that adds vectors of images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from clip_image_encoder import ImageEncoder
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders, image_column, image_in

__all__ = ["EmbedImages"]


class EmbedImages:
    """Function for `Dataset.map(..., batched=True)` that adds the columns `embedding` and `error`.

    An image that can't be read gets a vector of NaN and its reason in `error`, which is "" in other rows; the
    job goes on. Load the column with `dataset.cast_column("image", Image(decode=False))`: if datasets
    decodes the images itself, one bad image ends the job.

    The cache of `map` finds results again as long as the encoder gives the same vectors, since the
    encoder's fingerprint is part of the function's. Each worker process (`num_proc`) loads the weights.

    Args:
        encoder: An `ImageEncoder`, or the name of a model: a hub id, a folder, or "tiny-shapes".
        column: Name of the column with images, paths or the content of image files; None means the first of `bytes`,
            `image` and `path` that there is.
        batch_size: Number of images in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.

    Example:
        >>> from datasets import Dataset
        >>> from clip_image_encoder.integrations.datasets import EmbedImages
        >>> dataset = Dataset.from_dict({"path": ["missing.jpg"]})
        >>> embedded = dataset.map(EmbedImages("tiny-shapes"), batched=True)
        >>> embedded.column_names, embedded[0]["error"]
        (['path', 'embedding', 'error'], 'no such file')
    """

    def __init__(
        self,
        encoder: ImageEncoder | str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        column: str | None = None,
        batch_size: int | None = None,
        normalize: bool = True,
    ) -> None:
        loaded = encoder if isinstance(encoder, ImageEncoder) else ImageEncoder(encoder)
        self._encoders = Encoders(model=loaded, batch_size=batch_size, normalize=normalize)
        self._column = column
        # datasets' hash covers what is pickled, and the encoder's pickle has no weights in it.
        self._fingerprint = self._encoders.fingerprint

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the new columns `embedding`, float32 `(n, d)`, and `error` of a batch of n rows.

        Args:
            batch: Columns of the batch by name.

        Raises:
            ConfigurationError: The batch has no column of that name.
        """
        cells = batch[image_column(list(batch), self._column)]
        embeddings, failures = self._encoders.embed_images([image_in(cell) for cell in cells])
        # "" and not None: from a first batch of None only, datasets would infer the column's type as null.
        return {"embedding": embeddings, "error": [failure.reason if failure else "" for failure in failures]}
