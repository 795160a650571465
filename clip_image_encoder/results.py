"""From a stream of batches to what `encode` returns, raises and warns of."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterable
from typing import TypeVar

import numpy as np

from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ImageError
from clip_image_encoder.pipeline import EncodedBatch, LoadedBatch

__all__ = ["gather", "until_failure"]

_Batch = TypeVar("_Batch", LoadedBatch, EncodedBatch)


def until_failure(batches: Iterable[_Batch]) -> Generator[_Batch]:
    """Hand batches on, and raise the first failure instead of the batch that has it."""
    for batch in batches:
        if batch.failures:
            raise batch.failures[0]
        yield batch


def gather(batches: Iterable[EncodedBatch], dimension: int) -> Vectors:
    """Return the vectors `(n, dimension)` of all batches, and list the failures in one warning to `encode`'s caller."""
    done = list(batches)
    failures = [failure for batch in done for failure in batch.failures]
    if failures:
        warnings.warn(_summary(failures), stacklevel=3)
    empty = np.empty((0, dimension), dtype=np.float32)
    vectors: Vectors = np.concatenate([empty, *(batch.embeddings for batch in done)])
    return vectors


def _summary(failures: list[ImageError], most: int = 10) -> str:
    lines = [f"{len(failures)} of the images could not be encoded; their rows are NaN:", *map(str, failures[:most])]
    if len(failures) > most:
        lines.append(f"and {len(failures) - most} more")
    return "\n  ".join(lines)
