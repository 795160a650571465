"""One image or several: the type of the argument tells which, never its content."""

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
    """The images of one call, in one form for every way to pass them.

    Attributes:
        images: Inputs in their order; a generator may be endless.
        is_single: Whether the call was given one image, and not an iterable that holds one.
    """

    images: Iterable[object]
    is_single: bool

    @property
    def total(self) -> int | None:
        """Number of inputs; None where the iterable has no length."""
        return len(self.images) if isinstance(self.images, Sized) else None


def inputs_of(images: object) -> Inputs:
    """Return the inputs of a call, which was given one image or an iterable of images.

    Args:
        images: One image of any kind that `ImageLoader` takes, or an iterable of them.

    Raises:
        ConfigurationError: The images have no order, lie one level deeper (in a table, or in a batch of a
            DataLoader), or the argument is neither an image nor an iterable.

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
    # A DataLoader's batch is the list [images, labels], whose first item has the shape (n, channels, height, width).
    shape = getattr(images[0], "shape", None) if isinstance(images, (list, tuple)) and images else None
    if isinstance(shape, tuple) and len(shape) == 4:
        raise ConfigurationError(f"the list begins with an array of {shape[0]} images {tuple(shape)}; pass them alone")
    return Inputs(images=images, is_single=False)


def _is_single_image(images: object) -> bool:
    """Tell one image from several by its type.

    A str or another path, bytes, a file object, a PIL image, and an array of 0, 2 or 3 axes are one image; so is an
    array of one axis that holds numbers, the bytes of a file. Every other value is an iterable of images, or an error.
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
    """Tell whether an array or tensor holds numbers, and not paths or other objects."""
    dtype = getattr(images, "dtype", None)
    return dtype is not None and getattr(dtype, "kind", "u") in "biufc"


def has_method(item: object, name: str) -> bool:
    """Tell whether an object has a method of that name; a class has none, only its instances have."""
    return not isinstance(item, type) and callable(getattr(item, name, None))
