"""Smaller vectors for large collections: fewer dimensions, eight bits a number, or one."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.pipeline import unit_rows

__all__ = ["BinaryQuantizer", "Int8Quantizer", "load_quantizer", "save_quantizer", "truncate"]


def truncate(vectors: Vectors, dimension: int) -> Vectors:
    """Return the first numbers of each vector, scaled to length 1 again.

    For checkpoints that were trained so that the first numbers matter most (Kusupati et al. 2022,
    "Matryoshka Representation Learning"). CLIP and SigLIP were not: measure what it costs you.

    Args:
        vectors: `(n, d)` or `(d,)` float32.
        dimension: numbers that are kept, 1 to d.

    Raises:
        ConfigurationError: the vectors have no so many numbers, or one is NaN.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.compact import truncate
        >>> truncate(np.array([0.6, 0.0, 0.8], np.float32), 2)
        array([1., 0.], dtype=float32)
    """
    rows = _rows(vectors)
    if not 1 <= dimension <= rows.shape[1]:
        raise ConfigurationError(f"dimension must be 1 to {rows.shape[1]}, not {dimension!r}")
    kept = unit_rows(rows[:, :dimension])
    return kept[0] if vectors.ndim == 1 else kept


@dataclass(frozen=True, kw_only=True)
class Int8Quantizer:
    """Vectors as int8, a quarter of the memory, on one scale for all numbers.

    With one scale, the integer dot product of two codes is their cosine times `(127 / bound) ** 2`, so that any
    database that compares int8 vectors ranks them as it would rank the originals; and texts, whose numbers lie
    elsewhere than pictures', keep their place. What lies beyond the bound is cut.

    Args:
        bound: number that becomes 127.
        fingerprint: of the encoder whose vectors the bound was taken from.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.compact import Int8Quantizer
        >>> quantizer = Int8Quantizer.fit(np.array([[0.6, -0.8]], np.float32))
        >>> quantizer(np.array([[0.6, -0.8]], np.float32))
        array([[  95, -127]], dtype=int8)
    """

    bound: float
    fingerprint: str = ""

    @classmethod
    def fit(cls, vectors: Vectors, *, fingerprint: str = "") -> Int8Quantizer:
        """Return the quantizer whose bound is the largest number of vectors `(n, d)` of your own pictures.

        A few hundred are enough. Keep the result: codes of two quantizers can't be compared.

        Raises:
            ConfigurationError: there are no vectors, or one is NaN.
        """
        return cls(bound=float(np.abs(_some_rows(vectors)).max()), fingerprint=fingerprint)

    def __call__(self, vectors: Vectors) -> NDArray[np.int8]:
        """Return codes, int8 of the same shape.

        Raises:
            ConfigurationError: a vector is NaN.
        """
        _rows(vectors)
        codes: NDArray[np.int8] = np.clip(np.rint(vectors * (127 / self.bound)), -127, 127).astype(np.int8)
        return codes

    def restore(self, codes: NDArray[np.int8]) -> Vectors:
        """Return float32 vectors of length 1 near those that the codes `(n, d)` were made of."""
        return unit_rows(codes.astype(np.float32))


@dataclass(frozen=True, kw_only=True)
class BinaryQuantizer:
    """Vectors as bits, a thirty-second of the memory: whether each number is above its centre.

    For a first search by Hamming distance, whose best hits are ranked again by their full vectors. Take one
    quantizer for pictures and one for texts: their centres differ.

    Args:
        centre: d numbers.
        fingerprint: of the encoder whose vectors the centre was taken from.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.compact import BinaryQuantizer
        >>> quantizer = BinaryQuantizer.fit(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32))
        >>> np.unpackbits(quantizer(np.array([[0.6, 0.4]], np.float32)))
        array([1, 0, 0, 0, 0, 0, 0, 0], dtype=uint8)
    """

    centre: tuple[float, ...]
    fingerprint: str = ""

    @classmethod
    def fit(cls, vectors: Vectors, *, fingerprint: str = "") -> BinaryQuantizer:
        """Return the quantizer whose centre is the mean of vectors `(n, d)` of your own pictures, or of texts.

        Raises:
            ConfigurationError: there are no vectors, or one is NaN.
        """
        return cls(centre=tuple(_some_rows(vectors).mean(axis=0).tolist()), fingerprint=fingerprint)

    def __call__(self, vectors: Vectors) -> NDArray[np.uint8]:
        """Return codes `(n, ceil(d / 8))` uint8 of vectors `(n, d)`, eight bits a byte, the first bit highest.

        Raises:
            ConfigurationError: a vector is NaN, or of another length than the centre.
        """
        if _rows(vectors).shape[1] != len(self.centre):
            raise ConfigurationError(f"the quantizer is for vectors of {len(self.centre)}, not {vectors.shape[-1]}")
        return np.packbits(vectors > np.array(self.centre, np.float32), axis=-1)


_KINDS = {"int8": Int8Quantizer, "binary": BinaryQuantizer}


def save_quantizer(quantizer: Int8Quantizer | BinaryQuantizer, file: str | os.PathLike[str]) -> None:
    """Write a quantizer as JSON."""
    (kind,) = (name for name, known in _KINDS.items() if isinstance(quantizer, known))
    Path(file).write_text(json.dumps({"kind": kind, **dataclasses.asdict(quantizer)}), encoding="utf-8")


def load_quantizer(file: str | os.PathLike[str], *, fingerprint: str = "") -> Int8Quantizer | BinaryQuantizer:
    """Read what `save_quantizer` has written.

    Args:
        file: the file.
        fingerprint: of the encoder in use; "" does not compare it.

    Raises:
        ConfigurationError: the file is something else, or of another encoder.

    Example:
        >>> import tempfile
        >>> from clip_image_encoder.compact import Int8Quantizer, load_quantizer, save_quantizer
        >>> file = tempfile.mkdtemp() + "/int8.json"
        >>> save_quantizer(Int8Quantizer(bound=0.5), file)
        >>> load_quantizer(file)
        Int8Quantizer(bound=0.5, fingerprint='')
    """
    try:
        stored: dict[str, Any] = json.loads(Path(file).read_text(encoding="utf-8"))
        kind = _KINDS[stored.pop("kind")]
        settings: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
        quantizer: Int8Quantizer | BinaryQuantizer = kind(**settings)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{Path(file)} is not a quantizer that save_quantizer has written") from error
    if fingerprint and quantizer.fingerprint != fingerprint:
        raise ConfigurationError(f"{Path(file)} was fitted to vectors of another encoder; fit it anew")
    return quantizer


def _rows(vectors: Vectors) -> Vectors:
    """Return vectors as `(n, d)`, if they are that or `(d,)`, and finite."""
    if vectors.ndim not in (1, 2):
        raise ConfigurationError(f"vectors must be (n, d) or (d,), not {vectors.shape}")
    rows = np.atleast_2d(vectors)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ConfigurationError(f"vector {bad[0]} is NaN, as those of failed images are; leave it out")
    return rows


def _some_rows(vectors: Vectors) -> Vectors:
    rows = _rows(vectors)
    if not rows.size:
        raise ConfigurationError("there are no vectors to fit to")
    return rows
