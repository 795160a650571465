"""The quality of an int8 graph: how near its vectors are to those of float32. It is measured once and stored."""

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
"""Smallest allowed mean cosine of an int8 graph by default."""

_NEAR = 0.995
"""Mean cosine below which a warning is logged, and other plans are tried when the graph is made."""

_FILE = "quality.json"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A comparison of two sets of vectors of the same images or texts, usually those of int8 and of float32.

    Attributes:
        mean: Mean of the cosines between the two vectors of each image or text, -1 to 1.
        worst: Smallest of the cosines, -1 to 1.
        same_nearest: Share of images or texts, 0 to 1, whose nearest other one is the same in both sets.
    """

    mean: float
    worst: float
    same_nearest: float

    @property
    def is_near(self) -> bool:
        """Whether the vectors are near enough for most uses: a mean cosine of 0.995 and a worst one of 0.98."""
        return self.mean >= _NEAR and self.worst >= 0.98

    def __str__(self) -> str:
        return f"mean cosine {self.mean:.4f}, worst {self.worst:.4f}, the same nearest for {self.same_nearest:.0%}"


def compared(exact: NDArray[np.float32], fitted: NDArray[np.float32]) -> Quality:
    """Compare vectors with exact ones, both `(n, d)` float32; the cosine of a vector of zeros is 0."""
    one, two = _unit(exact), _unit(fitted)
    cosines = (one * two).sum(axis=1)
    return Quality(
        mean=round(float(cosines.mean()), 4),
        worst=round(float(cosines.min()), 4),
        same_nearest=round(float((_nearest(one) == _nearest(two)).mean()), 4),
    )


def write_quality(quality: Quality, folder: Path) -> None:
    """Store a quality in the folder of its graph."""
    (folder / _FILE).write_text(json.dumps(dataclasses.asdict(quality)))


def quality_of(graph: Path) -> Quality | None:
    """Return the quality stored beside a graph's file; None for a float32 graph, which has none."""
    file = graph.with_name(_FILE)
    return Quality(**json.loads(file.read_text())) if file.is_file() else None


def tell_quality(name: str, quality: Quality | None) -> None:
    """Log a warning if the mean cosine of an int8 graph to float32 is below 0.995.

    Args:
        name: Name of the checkpoint.
        quality: Quality of its graph; None for a float32 graph, which logs nothing.
    """
    if quality and not quality.mean >= _NEAR:
        _logger.warning(
            "%s in int8 has a %s, compared with float32; if that is not near enough, use another dtype, or give a "
            "Calibration of a few hundred images like those that the model will see",
            name,
            quality,
        )


def check_quality(graph: Path, least_cosine: float) -> None:
    """Check that the vectors of an int8 graph are near enough to those of float32.

    Args:
        graph: File of the graph; float32 graphs pass.
        least_cosine: Smallest allowed mean cosine.

    Raises:
        BackendError: The mean cosine is smaller.
    """
    quality = quality_of(graph)
    if quality and not quality.mean >= least_cosine:
        raise BackendError(
            f"the int8 vectors have a {quality}, compared with float32; the mean has to be {least_cosine}; give a "
            "Calibration of a few hundred varied images like those that the model will see, use dtype='float32', or "
            "pass a smaller least_cosine="
        )


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = vectors.astype(np.float64)
    lengths = np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    unit: NDArray[np.float64] = exact / lengths
    return unit


def _nearest(vectors: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the index of the nearest other vector for each of `(n, d)` vectors of length 1."""
    similar = vectors @ vectors.T
    np.fill_diagonal(similar, -np.inf)
    places: NDArray[np.intp] = similar.argmax(axis=1)
    return places
