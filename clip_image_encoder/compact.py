"""Smaller vectors for large collections: fewer numbers in a vector, or eight bits or one bit for each number."""

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
    "Matryoshka Representation Learning", arXiv:2205.13147). CLIP and SigLIP were not: measure first how much
    your search loses.

    Args:
        vectors: Vectors `(n, d)`, or one vector `(d,)`, float32.
        dimension: Number of values of each vector that are kept, 1 to d.

    Raises:
        ConfigurationError: The vectors are shorter than `dimension`, one is NaN, or one is zero in all values kept.

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
    """Turns vectors into int8 codes, a quarter of their memory, with one scale for all numbers.

    With one scale, the integer dot product of two codes is about their cosine times `(127 / bound) ** 2`, so that a
    database that compares int8 vectors ranks codes as it ranks the vectors. This holds for texts too, whose
    numbers are distributed differently from those of images. Numbers beyond the bound are clipped.

    Args:
        bound: Number that becomes 127; finite and above 0.
        fingerprint: Fingerprint of the encoder whose vectors the bound was taken from; "" stores none.

    Raises:
        ConfigurationError: The bound is not a finite number above 0.

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
        # Python's float, not numpy's, so that JSON can store it.
        object.__setattr__(self, "bound", float(bound))

    @classmethod
    def fit(cls, vectors: Vectors, *, fingerprint: str = "") -> Int8Quantizer:
        """Return a quantizer whose bound is the largest absolute value in vectors of your own images.

        A few hundred vectors are enough. Save the quantizer: codes of two quantizers can't be compared.

        Args:
            vectors: Vectors `(n, d)` float32.
            fingerprint: Fingerprint of the encoder that made the vectors; "" stores none.

        Raises:
            ConfigurationError: There are no vectors, one is NaN, or all are zero.
        """
        bound = float(np.abs(_some_rows(vectors)).max())
        if not bound:
            raise ConfigurationError("all vectors are zero; pass vectors of images")
        return cls(bound=bound, fingerprint=fingerprint)

    def __call__(self, vectors: Vectors) -> NDArray[np.int8]:
        """Return the int8 codes of vectors, in the same shape.

        Args:
            vectors: Vectors `(n, d)`, or one vector `(d,)`, float32.

        Raises:
            ConfigurationError: A vector is NaN.
        """
        scaled = _vectors(vectors) * (127 / self.bound)
        codes: NDArray[np.int8] = np.clip(np.rint(scaled), -127, 127).astype(np.int8)
        return codes

    def restore(self, codes: NDArray[np.int8]) -> Vectors:
        """Return float32 vectors of length 1 that approximate the encoded ones, in the same shape.

        Args:
            codes: Codes `(n, d)`, or one code `(d,)`, int8.

        Raises:
            ConfigurationError: A code is zero, and has no direction.
        """
        return _directions(_vectors(codes), name="code")


@dataclass(frozen=True, kw_only=True)
class BinaryQuantizer:
    """Turns vectors into bits, 1/32 of their memory: a bit says whether a number is above its center.

    For a first search by Hamming distance, whose best results are then ranked by their full vectors. Fit one
    quantizer to images and one to texts, since their centers differ.

    Args:
        centre: Center of each of a vector's d numbers, such as their means; finite.
        fingerprint: Fingerprint of the encoder whose vectors the center was taken from; "" stores none.

    Raises:
        ConfigurationError: The center is not a sequence of finite numbers.

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
        # Python's floats, so that JSON can store them; a tuple, so that the frozen dataclass has a hash.
        object.__setattr__(self, "centre", tuple(map(float, numbers)))

    @classmethod
    def fit(cls, vectors: Vectors, *, fingerprint: str = "") -> BinaryQuantizer:
        """Return a quantizer whose center is the mean of vectors of your own images, or of your texts.

        Args:
            vectors: Vectors `(n, d)` float32.
            fingerprint: Fingerprint of the encoder that made the vectors; "" stores none.

        Raises:
            ConfigurationError: There are no vectors, or one is NaN.
        """
        return cls(centre=tuple(_some_rows(vectors).mean(axis=0).tolist()), fingerprint=fingerprint)

    def __call__(self, vectors: Vectors) -> NDArray[np.uint8]:
        """Return the codes of vectors: uint8 `(n, ceil(d / 8))`, eight bits in a byte, the first bit highest.

        Args:
            vectors: Vectors `(n, d)`, or one vector `(d,)`, float32.

        Raises:
            ConfigurationError: A vector is NaN, or its length is not that of the center.
        """
        given = _vectors(vectors)
        if given.shape[-1] != len(self.centre):
            raise ConfigurationError(f"the quantizer is for vectors of {len(self.centre)}, not {given.shape[-1]}")
        return np.packbits(given > np.array(self.centre, np.float32), axis=-1)


_KINDS = {"int8": Int8Quantizer, "binary": BinaryQuantizer}


def save_quantizer(quantizer: Int8Quantizer | BinaryQuantizer, file: str | os.PathLike[str]) -> None:
    """Write a quantizer to a JSON file.

    Args:
        quantizer: Quantizer to write.
        file: Path of the file, which is replaced if it exists.

    Raises:
        ConfigurationError: `quantizer` is neither an Int8Quantizer nor a BinaryQuantizer.
    """
    kind = next((name for name, known in _KINDS.items() if isinstance(quantizer, known)), None)
    if kind is None:
        found = type(quantizer).__name__
        raise ConfigurationError(f"quantizer must be an Int8Quantizer or a BinaryQuantizer, not {found}")
    Path(file).write_text(json.dumps({"kind": kind, **dataclasses.asdict(quantizer)}), encoding="utf-8")


def load_quantizer(file: str | os.PathLike[str], *, fingerprint: str = "") -> Int8Quantizer | BinaryQuantizer:
    """Read a quantizer from a file that `save_quantizer` has written.

    Args:
        file: Path of the JSON file.
        fingerprint: Fingerprint of the encoder in use, compared with the stored one; "" skips the comparison.

    Raises:
        ConfigurationError: The file is not a quantizer's, or was fitted to vectors of another encoder.

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
        raise ConfigurationError(f"{Path(file)} was fitted to vectors of another encoder; fit a new quantizer")
    return quantizer


def _numbers(given: object) -> NDArray[Any] | None:
    """Return an array of integers or floats, or None if the given object can't be one."""
    try:
        array = np.asarray(given)
    except (TypeError, ValueError):  # a tensor on a GPU, rows of several lengths
        return None
    return array if array.dtype.kind in "fiu" else None


def _vectors(given: object) -> Vectors:
    """Return vectors as float32 `(n, d)` or `(d,)`, if they are finite numbers in an array or in lists."""
    array = _numbers(given)
    if array is None or array.ndim not in (1, 2):
        shape = type(given).__name__ if array is None else array.shape
        raise ConfigurationError(f"vectors must be numbers, (n, d) or (d,), not {shape}")
    # Lists become float64 arrays, and codes are int8; float32 arrays are not copied.
    vectors: Vectors = array.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(np.atleast_2d(vectors)).all(axis=1))
    if bad.size:
        raise ConfigurationError(f"vector {bad[0]} is NaN or infinite, as those of failed images are; leave it out")
    return vectors


def _some_rows(vectors: Vectors) -> Vectors:
    rows = np.atleast_2d(_vectors(vectors))
    if not rows.size:
        raise ConfigurationError("there are no vectors; pass some to fit the quantizer to")
    return rows


def _directions(vectors: Vectors, *, name: str) -> Vectors:
    """Return vectors `(n, d)` or `(d,)` scaled to length 1; `name` is how an error calls a row."""
    rows = np.atleast_2d(vectors)
    zero = np.flatnonzero(~rows.any(axis=1))
    if zero.size:
        raise ConfigurationError(f"{name} {zero[0]} is zero in all {rows.shape[1]} numbers, and has no direction")
    return unit_rows(rows).reshape(vectors.shape)
