"""Batches of inputs before and after the model, with the place of each input and its vector or its error."""

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
    """Inputs that follow each other and are loaded, before the model encodes them.

    Attributes:
        start: Place of the batch's first input among all inputs, from 0.
        items: Pixels of each input, or the error of an input that could not be loaded; or the pixels of all inputs in
            one array `(n, H, W, 3)`.
        loading_seconds: Time that loading took, in seconds, summed over the threads.
    """

    start: int
    items: Sequence[Pixels | ImageError] | Pixels
    loading_seconds: float

    @property
    def failures(self) -> tuple[ImageError, ...]:
        """Errors of the inputs that could not be loaded, in order."""
        return tuple(item for item in self.items if isinstance(item, ImageError))


@dataclass(frozen=True, kw_only=True)
class EncodedBatch:
    """Vectors of inputs that follow each other.

    Attributes:
        start: Place of the batch's first input among all inputs, from 0.
        embeddings: Vectors `(m, d)` float32, a row for each input; the row of an input that failed is NaN.
        failures: Errors of the inputs that failed, in order; the `index` of each is its place among all inputs.
        loading_seconds: Time that reading and decoding took, in seconds, summed over the threads; 0 for texts.
        encoding_seconds: Time that the model took, and for texts the tokenizer, in seconds.
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
    """Return the vectors `(n, dimension)` of batches that follow each other, and for each row its error or None.

    Args:
        batches: Batches of one stream, in their order; the sequence may be empty.
        dimension: Length of a vector, needed if there are no batches.

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
        dimension: Length of a vector, needed if there are no batches.
    """
    vectors, errors = join(list(batches), dimension=dimension)
    if failures := [error for error in errors if error is not None]:
        warnings.warn(_summary(failures), stacklevel=3)
    return vectors


def until_failure(batches: Iterable[_Batch]) -> Generator[_Batch]:
    """Yield batches up to the first failure, which is raised in the place of its batch.

    Args:
        batches: Batches, loaded or encoded, in their order.

    Raises:
        ImageError: An input of a batch failed.
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
