"""How near the vectors of an int8 graph are to those of float32, measured when it is made and stored beside it."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.errors import BackendError

__all__ = ["LEAST_COSINE", "Quality", "check_quality", "compared", "quality_of", "tell_quality", "write_quality"]

LEAST_COSINE = 0.98
"""What the mean cosine of an int8 graph has to reach where nothing else is asked for."""

_NEAR = 0.995

_FILE = "quality.json"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The vectors of an int8 graph beside those of float32, of some images or texts that it was fitted to.

    Attributes:
        mean: Mean of the cosines.
        worst: The least of the cosines.
        same_nearest: Share of vectors, 0 to 1, whose nearest other vector is that of the same image or text.
    """

    mean: float
    worst: float
    same_nearest: float

    @property
    def is_near(self) -> bool:
        """Whether most users won't see the difference: a mean of 0.995 and a worst of 0.98."""
        return self.mean >= _NEAR and self.worst >= 0.98

    def __str__(self) -> str:
        return f"mean cosine {self.mean:.4f}, worst {self.worst:.4f}, the same nearest for {self.same_nearest:.0%}"


def compared(exact: NDArray[np.float32], fitted: NDArray[np.float32]) -> Quality:
    """Return how near vectors are to exact ones, both `(n, d)`; a vector of zeros is near to none."""
    one, two = _unit(exact), _unit(fitted)
    cosines = (one * two).sum(axis=1)
    return Quality(
        mean=round(float(cosines.mean()), 4),
        worst=round(float(cosines.min()), 4),
        same_nearest=round(float((_nearest(one) == _nearest(two)).mean()), 4),
    )


def write_quality(quality: Quality, folder: Path) -> None:
    """Store it beside a graph."""
    (folder / _FILE).write_text(json.dumps(dataclasses.asdict(quality)))


def quality_of(graph: Path) -> Quality | None:
    """Return what is stored beside a graph, or None for one that was not fitted."""
    file = graph.with_name(_FILE)
    return Quality(**json.loads(file.read_text())) if file.is_file() else None


def tell_quality(name: str, quality: Quality | None) -> None:
    """Say in the log what int8 costs, where its mean cosine to float32 is less than 0.995.

    Args:
        name: Of the checkpoint.
        quality: What is stored beside its graph; None for one that was not fitted.
    """
    if quality and not quality.mean >= _NEAR:
        _logger.warning(
            "%s in int8 has a %s, beside float32; where that is too far, take another dtype, or give a Calibration of "
            "some hundred images, as the model will see them",
            name,
            quality,
        )


def check_quality(graph: Path, least_cosine: float) -> None:
    """Check that a graph was fitted well enough.

    Raises:
        BackendError: The mean of its cosines is less.
    """
    quality = quality_of(graph)
    if quality and not quality.mean >= least_cosine:
        raise BackendError(
            f"int8 vectors of what the graph was fitted to have a {quality}, beside float32; the mean has to be "
            f"{least_cosine}. Give a Calibration of some hundred varied images, as the model will see them, take "
            "dtype='float32', or ask for less with least_cosine="
        )


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = vectors.astype(np.float64)
    lengths = np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    unit: NDArray[np.float64] = exact / lengths
    return unit


def _nearest(vectors: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the place of the nearest other vector, for each."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    places: NDArray[np.intp] = similar.argmax(axis=1)
    return places
