"""Hugging Face datasets: a function for `Dataset.map` that adds vectors of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.arguments import check_batch_size
from clip_image_encoder.batches import join

__all__ = ["EmbedImages"]


class EmbedImages:
    """Function for `Dataset.map(..., batched=True)` that adds the columns `embedding` and `error`.

    An image that can't be read gets a vector of NaN and its reason in `error`, which is "" in other rows; the
    job goes on. Load the column with `dataset.cast_column("image", Image(decode=False))`: if datasets
    decodes the images itself, one bad image ends the job.

    The cache of `map` finds results again as long as the encoder gives the same vectors, since the
    encoder's fingerprint is part of the function's. Each worker process (`num_proc`) loads the weights.

    Args:
        encoder: Encoder of the images.
        column: Name of the column with images, paths or the content of image files, "image" by default.
        batch_size: Number of images in a forward pass; None means 128 on CUDA devices and 32 on others.

    Example:
        >>> from datasets import Dataset
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.integrations.datasets import EmbedImages
        >>> dataset = Dataset.from_dict({"image": ["missing.jpg"]})
        >>> embedded = dataset.map(EmbedImages(ImageEncoder("tiny-shapes")), batched=True)
        >>> embedded.column_names, embedded[0]["error"]
        (['image', 'embedding', 'error'], 'missing.jpg: no such file')
    """

    def __init__(self, encoder: ImageEncoder, *, column: str = "image", batch_size: int | None = None) -> None:
        self._encoder = encoder
        self._column = column
        self._batch_size = check_batch_size(batch_size)
        # datasets' hash covers what is pickled, and the encoder's pickle has no weights in it.
        self._fingerprint = encoder.fingerprint

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the new columns `embedding`, float32 `(n, d)`, and `error` of a batch of n rows.

        Args:
            batch: Columns of the batch by name.

        Raises:
            ConfigurationError: The batch has no column of that name.
        """
        if self._column not in batch:
            raise ConfigurationError(f"the dataset has no column {self._column!r}; pass column=, one of {list(batch)}")
        images = [_image(item) for item in batch[self._column]]
        batches = list(self._encoder.stream(images, self._batch_size, show_progress=False))
        embeddings, failures = join(batches, dimension=self._encoder.dimension)
        # "" and not None: from a first batch of None only, datasets would infer the column's type as null.
        errors = [f"{failure.source}: {failure.reason}" if failure else "" for failure in failures]
        return {"embedding": embeddings, "error": errors}


def _image(item: Any) -> Any:
    """Return the content or the path of an image that datasets has not decoded, and other values as they are."""
    if isinstance(item, Mapping) and {"bytes", "path"} <= item.keys():
        return item["path"] if item["bytes"] is None else item["bytes"]
    return item
