"""Hugging Face datasets: what `Dataset.map` calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.arguments import check_count
from clip_image_encoder.batches import join

__all__ = ["EmbedImages"]


class EmbedImages:
    """A function for `Dataset.map(..., batched=True)`: adds the columns `embedding` and `error`.

    A bad picture is a row with NaN and its reason in `error`, which is "" elsewhere; no row is lost, and the
    job goes on. Keep datasets from decoding the pictures, since a bad one would end the job there:
    `dataset.cast_column("image", Image(decode=False))`.

    What `map` keeps in its cache is found again as long as the encoder gives the same vectors: the
    encoder's fingerprint is part of the function's. Worker processes (`num_proc`) load the weights for
    themselves.

    Args:
        encoder: Encodes the images.
        column: Name of the column with images, paths or the content of image files.
        batch_size: Number of images that pass the model at a time; None is 256 on CUDA devices, and 32 on others.

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
        self._batch_size = None if batch_size is None else check_count(batch_size, name="batch_size")
        # datasets' hash covers what is pickled, and the encoder's pickle has no weights in it.
        self._fingerprint = encoder.fingerprint

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return an embedding and an error for each row of the batch.

        Raises:
            ConfigurationError: The batch has no such column.
        """
        if self._column not in batch:
            raise ConfigurationError(f"the dataset has no column {self._column!r}, but {list(batch)}")
        pictures = [_picture(item) for item in batch[self._column]]
        batches = list(self._encoder.stream(pictures, self._batch_size, show_progress=False))
        embeddings, failures = join(batches, dimension=self._encoder.dimension)
        # Not None where all is well: datasets would take a first batch of None for the column's type.
        errors = [f"{failure.source}: {failure.reason}" if failure else "" for failure in failures]
        return {"embedding": embeddings, "error": errors}


def _picture(item: Any) -> Any:
    """Return what an undecoded picture of datasets holds: the file's content, or its path."""
    if isinstance(item, Mapping) and {"bytes", "path"} <= item.keys():
        return item["path"] if item["bytes"] is None else item["bytes"]
    return item
