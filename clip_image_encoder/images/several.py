"""One image or several: told apart by type alone, never by a guess at what is inside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Set, Sized
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image

from clip_image_encoder.errors import ConfigurationError

__all__ = ["Inputs", "has_method", "inputs_of"]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a call was given, in any form, as inputs that follow each other.

    Attributes:
        images: The inputs, one by one; there may be no end to them.
        is_single: Whether the call was given one image, and not an iterable with one in it.
    """

    images: Iterable[object]
    is_single: bool

    @property
    def total(self) -> int | None:
        """Number of inputs; None where it is not known."""
        return len(self.images) if isinstance(self.images, Sized) else None


def inputs_of(images: object) -> Inputs:
    """Return the inputs of one image or several.

    Raises:
        ConfigurationError: they have no order, they are one level deeper, such as in a table or in a batch
            of a DataLoader, or it is neither an image nor an iterable.

    Example:
        >>> inputs_of("cat.jpg").is_single, inputs_of(["cat.jpg"]).is_single
        (True, False)
    """
    kind = type(images)
    if hasattr(kind, "columns") or hasattr(kind, "column_names"):  # pandas, polars, pyarrow, datasets
        raise ConfigurationError(f"a {kind.__name__} has columns; pass the one that holds the images")
    if hasattr(kind, "to_pylist"):
        raise ConfigurationError(f"a {kind.__name__} holds values of pyarrow; pass its to_pylist()")
    if _is_single_image(images):
        return Inputs(images=[images], is_single=True)
    if isinstance(images, (Mapping, Set)):
        raise ConfigurationError(
            f"a {kind.__name__} has no order of images; pass a list, or the value that holds the images"
        )
    if not isinstance(images, Iterable):
        raise ConfigurationError(f"images must be one image or an iterable of images, not {kind.__name__}")
    # A DataLoader's batch: a list of all images and all labels.
    shape = getattr(images[0], "shape", None) if isinstance(images, (list, tuple)) and images else None
    if isinstance(shape, tuple) and len(shape) == 4:
        raise ConfigurationError(f"the first of the list is {shape[0]} images {tuple(shape)}; pass them alone")
    return Inputs(images=images, is_single=False)


def _is_single_image(images: object) -> bool:
    """Tell one image from many, by its type alone.

    One are paths and other str, bytes, file objects, PIL images, and arrays of up to 3 axes. Arrays
    of paths, arrays of 4 axes, lists, generators and everything else are many, or nothing that can be encoded.
    """
    if isinstance(images, (str, os.PathLike, bytes, bytearray, memoryview, Image.Image)):
        return True
    if has_method(images, "__array__"):
        try:
            axes = np.ndim(cast("Any", images))
            return axes in (0, 2, 3) or (axes == 1 and _holds_numbers(images))
        except Exception:  # noqa: BLE001
            # One broken array or tensor of some framework; the loader says what is wrong with it.
            return True
    return has_method(images, "read")


def _holds_numbers(images: object) -> bool:
    """Tell an array or tensor of numbers from an array of paths or of other objects."""
    dtype = getattr(images, "dtype", None)
    return dtype is not None and getattr(dtype, "kind", "u") in "biufc"


def has_method(item: object, name: str) -> bool:
    """Tell whether an object, and not a class, can be asked for something by that name."""
    # A class has the methods of its instances, but is none of them.
    return not isinstance(item, type) and callable(getattr(item, name, None))
