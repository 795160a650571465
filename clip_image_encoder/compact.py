"""Smaller vectors for large collections: fewer dimensions, eight bits a number, or one."""

from __future__ import annotations

import dataclasses
import json
import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._arguments import check_count, check_number
from clip_image_encoder.arrays import Vectors, unit_rows
from clip_image_encoder.errors import ConfigurationError

__all__ = ["BinaryQuantizer", "Int8Quantizer", "load_quantizer", "save_quantizer", "truncate"]


def truncate(vectors: Vectors, dimension: int) -> Vectors:
    """Return the first numbers of each vector, scaled to length 1 again.

    For checkpoints that were trained so that the first numbers matter most (Kusupati et al. 2022,
    "Matryoshka Representation Learning"). CLIP and SigLIP were not: measure what it costs you.

    Args:
        vectors: `(n, d)` or `(d,)` float32.
        dimension: Number of numbers that are kept, 1 to d.

    Raises:
        ConfigurationError: the vectors have no so many numbers, one is NaN, or one has only zeros in them.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.compact import truncate
        >>> truncate(np.array([0.6, 0.0, 0.8], np.float32), 2)
        array([1., 0.], dtype=float32)
    """
    given = _vectors(vectors)
    kept = check_count(dimension, name="dimension", most=given.shape[-1])
    return _directions(given[..., :kept], name="vector")


@dataclass(frozen=True, kw_only=True)
class Int8Quantizer:
    """Vectors as int8, a quarter of the memory, on one scale for all numbers.

    With one scale, the integer dot product of two codes is their cosine times `(127 / bound) ** 2`, so that any
    database that compares int8 vectors ranks them as it would rank the originals; and texts, whose numbers lie
    elsewhere than pictures', keep their place. What lies beyond the bound is cut.

    Args:
        bound: number that becomes 127; finite and above 0.
        fingerprint: Fingerprint of the encoder whose vectors the bound was taken from.

    Raises:
        ConfigurationError: the bound is something else.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.compact import Int8Quantizer
        >>> quantizer = Int8Quantizer.fit(np.array([[0.6, -0.8]], np.float32))
        >>> quantizer(np.array([[0.6, -0.8]], np.float32))
        array([[  95, -127]], dtype=int8)
    """

    bound: float
    fingerprint: str = ""

    def __post_init__(self) -> None:
        bound = check_number(self.bound, name="bound", kind="a finite number above 0", above=0)
        # A number of Python's own, which JSON can keep.
        object.__setattr__(self, "bound", float(bound))

    @classmethod
    def fit(cls, vectors: Vectors, *, fingerprint: str = "") -> Int8Quantizer:
        """Return the quantizer whose bound is the largest number of vectors `(n, d)` of your own pictures.

        A few hundred are enough. Keep the result: codes of two quantizers can't be compared.

        Raises:
            ConfigurationError: there are no vectors, one is NaN, or all are zero.
        """
        bound = float(np.abs(_some_rows(vectors)).max())
        if not bound:
            raise ConfigurationError("all vectors are zero; there is nothing to fit to")
        return cls(bound=bound, fingerprint=fingerprint)

    def __call__(self, vectors: Vectors) -> NDArray[np.int8]:
        """Return codes, int8 of the same shape.

        Raises:
            ConfigurationError: a vector is NaN.
        """
        scaled = _vectors(vectors) * (127 / self.bound)
        codes: NDArray[np.int8] = np.clip(np.rint(scaled), -127, 127).astype(np.int8)
        return codes

    def restore(self, codes: NDArray[np.int8]) -> Vectors:
        """Return float32 vectors of length 1 near those that the codes were made of, in the same shape.

        Raises:
            ConfigurationError: a code is zero, and has no direction.
        """
        return _directions(_vectors(codes), name="code")


@dataclass(frozen=True, kw_only=True)
class BinaryQuantizer:
    """Vectors as bits, a thirty-second of the memory: whether each number is above its centre.

    For a first search by Hamming distance, whose best hits are ranked again by their full vectors. Take one
    quantizer for pictures and one for texts: their centres differ.

    Args:
        centre: d finite numbers.
        fingerprint: Fingerprint of the encoder whose vectors the centre was taken from.

    Raises:
        ConfigurationError: the centre is something else.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.compact import BinaryQuantizer
        >>> quantizer = BinaryQuantizer.fit(np.array([[0.0, 1.0], [1.0, 0.0]], np.float32))
        >>> np.unpackbits(quantizer(np.array([[0.6, 0.4]], np.float32)))
        array([1, 0, 0, 0, 0, 0, 0, 0], dtype=uint8)
    """

    centre: tuple[float, ...]
    fingerprint: str = ""

    def __post_init__(self) -> None:
        centre = _numbers(self.centre)
        if centre is None or centre.ndim != 1 or not centre.size:
            raise ConfigurationError(f"centre must be finite numbers, not {reprlib.repr(self.centre)}")
        numbers = (check_number(number, name="centre", kind="finite numbers") for number in self.centre)
        # Numbers of Python's own, which JSON can keep, and in a tuple, since what is frozen has a hash.
        object.__setattr__(self, "centre", tuple(map(float, numbers)))

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
        given = _vectors(vectors)
        if given.shape[-1] != len(self.centre):
            raise ConfigurationError(f"the quantizer is for vectors of {len(self.centre)}, not {given.shape[-1]}")
        return np.packbits(given > np.array(self.centre, np.float32), axis=-1)


_KINDS = {"int8": Int8Quantizer, "binary": BinaryQuantizer}


def save_quantizer(quantizer: Int8Quantizer | BinaryQuantizer, file: str | os.PathLike[str]) -> None:
    """Write a quantizer as JSON.

    Raises:
        ConfigurationError: it is something else.
    """
    kind = next((name for name, known in _KINDS.items() if isinstance(quantizer, known)), None)
    if kind is None:
        found = type(quantizer).__name__
        raise ConfigurationError(f"quantizer must be an Int8Quantizer or a BinaryQuantizer, not {found}")
    Path(file).write_text(json.dumps({"kind": kind, **dataclasses.asdict(quantizer)}), encoding="utf-8")


def load_quantizer(file: str | os.PathLike[str], *, fingerprint: str = "") -> Int8Quantizer | BinaryQuantizer:
    """Read what `save_quantizer` has written.

    Args:
        file: the file.
        fingerprint: Fingerprint of the encoder in use; "" does not compare it.

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


def _numbers(given: object) -> NDArray[Any] | None:
    """Return numbers as an array, or None if they are something else."""
    try:
        array = np.asarray(given)
    except (TypeError, ValueError):  # a tensor on a GPU, rows of several lengths
        return None
    return array if array.dtype.kind in "fiu" else None


def _vectors(given: object) -> Vectors:
    """Return vectors as a float array `(n, d)` or `(d,)`, if they are that, in lists or in an array, and finite."""
    array = _numbers(given)
    if array is None or array.ndim not in (1, 2):
        shape = type(given).__name__ if array is None else array.shape
        raise ConfigurationError(f"vectors must be numbers, (n, d) or (d,), not {shape}")
    # Lists hold float64, and codes int8; arrays of float32 stay as they are.
    vectors: Vectors = array.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(np.atleast_2d(vectors)).all(axis=1))
    if bad.size:
        raise ConfigurationError(f"vector {bad[0]} is NaN, as those of failed images are; leave it out")
    return vectors


def _some_rows(vectors: Vectors) -> Vectors:
    rows = np.atleast_2d(_vectors(vectors))
    if not rows.size:
        raise ConfigurationError("there are no vectors to fit to")
    return rows


def _directions(vectors: Vectors, *, name: str) -> Vectors:
    """Return vectors `(n, d)` or `(d,)` at length 1."""
    rows = np.atleast_2d(vectors)
    zero = np.flatnonzero(~rows.any(axis=1))
    if zero.size:
        raise ConfigurationError(f"{name} {zero[0]} is zero in all {rows.shape[1]} numbers, and has no direction")
    return unit_rows(rows).reshape(vectors.shape)
