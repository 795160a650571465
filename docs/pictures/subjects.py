"""What several pictures are about: a file that lies on its side, and neighbours."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

__all__ = ["lying_jpeg", "neighbours"]

_TURN_RIGHT = 6


def lying_jpeg(stored: Image.Image) -> bytes:
    """Return a JPEG with the note that it is upright after a quarter turn to the right."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = _TURN_RIGHT
    file = BytesIO()
    stored.save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def neighbours(vectors: NDArray[np.float32], most: int) -> NDArray[np.intp]:
    """Return the places `(n, most)` of the other vectors nearest to each, by the dot product, the nearest first."""
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1)[:, :most]
