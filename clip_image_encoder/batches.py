"""Runs of inputs, before and after the model: where each of them stands, and what became of it."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from clip_image_encoder._arguments import check_count
from clip_image_encoder.arrays import Pixels, Vectors
from clip_image_encoder.errors import ImageError

__all__ = ["EncodedBatch", "LoadedBatch", "gather", "join", "until_failure"]


@dataclass(frozen=True, kw_only=True)
class LoadedBatch:
    """A run of inputs before the model sees them.

    Attributes:
        start: Place of the first input among all, from 0.
        items: The pixels of each input, or the error that took their place.
        loading_seconds: Time that threads spent on the inputs, in sum.
    """

    start: int
    items: Sequence[Pixels | ImageError]
    loading_seconds: float

    @property
    def failures(self) -> tuple[ImageError, ...]:
        """The errors among the items, in order."""
        return tuple(item for item in self.items if isinstance(item, ImageError))


@dataclass(frozen=True, kw_only=True)
class EncodedBatch:
    """The vectors of a run of inputs.

    Attributes:
        start: Place of the first input among all, from 0.
        embeddings: `(m, d)` float32, a row for each input; the row of an input that failed is NaN.
        failures: The errors of the inputs that failed, in order; each knows its `index` among all.
        loading_seconds: Time that threads spent on reading and decoding the inputs, in sum; 0 for texts.
        encoding_seconds: Time that the model took, and for texts the tokenizer.
    """

    start: int
    embeddings: Vectors
    failures: tuple[ImageError, ...]
    loading_seconds: float = 0.0
    encoding_seconds: float = 0.0

    def outcomes(self) -> Iterator[tuple[int, Vectors | ImageError]]:
        """Yield the place of each input among all, and its vector `(d,)` or its error.

        Example:
            >>> from clip_image_encoder import ImageEncoder
            >>> (batch,) = ImageEncoder("tiny-shapes").stream(["missing.jpg"])
            >>> [(place, type(outcome).__name__) for place, outcome in batch.outcomes()]
            [(0, 'ImageNotFoundError')]
        """
        failed = {failure.index: failure for failure in self.failures}
        for place, vector in enumerate(self.embeddings, start=self.start):
            yield place, failed.get(place, vector)


_Batch = TypeVar("_Batch", LoadedBatch, EncodedBatch)


def join(batches: Sequence[EncodedBatch], *, dimension: int) -> tuple[Vectors, list[ImageError | None]]:
    """Return the vectors `(n, dimension)` of batches that follow each other, and the error of each row or None.

    Args:
        batches: Batches of one stream, in their order; there may be none.
        dimension: Length of a vector.

    Example:
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.batches import join
        >>> vectors, errors = join(list(ImageEncoder("tiny-shapes").stream(["missing.jpg"])), dimension=64)
        >>> vectors.shape, str(errors[0])
        ((1, 64), 'image 0 (missing.jpg): no such file')
    """
    none = np.empty((0, check_count(dimension, name="dimension")), np.float32)
    vectors: Vectors = np.concatenate([none, *(batch.embeddings for batch in batches)])
    outcomes = (outcome for batch in batches for _, outcome in batch.outcomes())
    return vectors, [outcome if isinstance(outcome, ImageError) else None for outcome in outcomes]


def gather(batches: Iterable[EncodedBatch], *, dimension: int) -> Vectors:
    """Return the vectors `(n, dimension)` of all batches, and list the failures in one warning to `encode`'s caller.

    Args:
        batches: All batches of a stream, in their order.
        dimension: Length of a vector.
    """
    vectors, errors = join(list(batches), dimension=dimension)
    if failures := [error for error in errors if error is not None]:
        warnings.warn(_summary(failures), stacklevel=3)
    return vectors


def until_failure(batches: Iterable[_Batch]) -> Generator[_Batch]:
    """Hand batches on, and raise the first failure instead of the batch that has it.

    Args:
        batches: Any batches, loaded or encoded.

    Raises:
        ImageError: An input of a batch has failed.
    """
    for batch in batches:
        if batch.failures:
            raise batch.failures[0]
        yield batch


def _summary(failures: list[ImageError], most: int = 10) -> str:
    lines = [f"{len(failures)} of the images could not be encoded; their rows are NaN:", *map(str, failures[:most])]
    if len(failures) > most:
        lines.append(f"and {len(failures) - most} more")
    return "\n  ".join(lines)
