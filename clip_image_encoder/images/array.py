"""Images in arrays and tensors; a shape whose axes can be read in two ways is refused."""

from __future__ import annotations

from typing import Any, Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.depth import check_dtype, eight_bits, white_of_array
from clip_image_encoder.images.describe import describe_array
from clip_image_encoder.images.formats import DEFAULT_FORMATS, format_of
from clip_image_encoder.images.limits import check_pixels
from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["Channels", "SupportsArray", "encoded_bytes", "image_from_array"]

Channels = Literal["first", "last"]


class SupportsArray(Protocol):
    """An object that can become a numpy array: an array, or a tensor of any framework."""

    def __array__(self) -> NDArray[Any]:
        """Return the values as a numpy array."""
        ...


def image_from_array(item: SupportsArray, *, channels: Channels | None, max_pixels: int) -> tuple[Image.Image, str]:
    """Return the image in an array, 8 bits deep, and a description of the array.

    Args:
        item: Array `(H, W)`, `(H, W, C)` or `(C, H, W)` with 1 channel (grey), 2 (grey and alpha), 3 (RGB)
            or 4 (RGBA), of integers or floats in a range that `white_of_array` knows.
        channels: Axis of the channels, "first" or "last", in an array of three axes; None follows the shape.
        max_pixels: Largest allowed height times width.

    Returns:
        An image in mode L, LA, RGB or RGBA, which may share the array's memory.

    Raises:
        UnsupportedImageError: The shape, dtype or range is not that of an image, or the shape can be read
            both ways.
        ImageTooLargeError: The array has more than `max_pixels` pixels.
    """
    array = _as_numpy(item)
    source = describe_array(array)
    # Checks of the values come last: a broadcast array may have more pixels than fit into memory.
    check_dtype(array.dtype, source=source)
    _check_not_encoded(array, source=source)
    array = _channels_last(array, channels, source=source)
    height, width = array.shape[:2]
    check_pixels(width, height, max_pixels=max_pixels, source=source)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    with pillow_errors(source=source, what="array"):
        pixels = eight_bits(array, white=white_of_array(array, source=source), source=source)
        return Image.fromarray(np.ascontiguousarray(pixels)), source


def encoded_bytes(item: object) -> bytes | None:
    """Return the content of a file that is an array or tensor of uint8 with one axis; None for any other.

    `numpy.fromfile` and torchvision's `read_file` return such arrays.
    """
    if getattr(item, "ndim", None) != 1 or str(getattr(item, "dtype", "")).rpartition(".")[2] != "uint8":
        return None
    return _as_numpy(cast("SupportsArray", item)).tobytes()


def _as_numpy(item: SupportsArray) -> NDArray[Any]:
    if isinstance(item, np.ma.MaskedArray) and np.ma.is_masked(item):
        raise UnsupportedImageError(
            "values are masked; fill them, with array.filled(...)", source=describe_array(np.asarray(item))
        )
    if isinstance(item, np.ndarray):
        return np.asarray(item)
    tensor: Any = item
    try:
        # A torch tensor that requires a gradient needs detach() first, one on a GPU needs cpu().
        for step in ("detach", "cpu"):
            if hasattr(tensor, step):
                tensor = getattr(tensor, step)()
        # numpy has no bfloat16; float32 represents all its values.
        if "bfloat16" in str(getattr(tensor, "dtype", "")) and hasattr(tensor, "float"):
            tensor = tensor.float()
        return np.asarray(tensor.__array__())
    except Exception as error:
        # The conversion is code of any framework, which may raise any exception.
        name = type(item).__name__
        raise UnsupportedImageError(
            f"can't be turned into a numpy array ({type(error).__name__})", source=name
        ) from error


def _check_not_encoded(array: NDArray[Any], *, source: str) -> None:
    """Check that an array with one long axis of uint8 is not an encoded file."""
    if array.dtype == np.uint8 and array.size == max(array.shape, default=0):
        name = format_of(array.reshape(-1)[:64].tobytes())
        if name in DEFAULT_FORMATS and name != "PPM":
            raise UnsupportedImageError(f"the bytes of a {name} file; pass array.tobytes()", source=source)


def _channels_last(array: NDArray[Any], channels: Channels | None, *, source: str) -> NDArray[Any]:
    """Return a view of the array as `(H, W)` or `(H, W, C)`."""
    if array.ndim == 2:
        return array
    if array.ndim != 3:
        raise UnsupportedImageError("an image has 2 or 3 axes: (H, W), (H, W, C) or (C, H, W)", source=source)
    first, last = (array.shape[axis] in (1, 2, 3, 4) for axis in (0, 2))
    if channels is None:
        if first and last:
            raise UnsupportedImageError(
                "could be (C, H, W) and (H, W, C); say which: ImageLoader(channels='first') or 'last'", source=source
            )
        channels = "first" if first else "last"
    if not (first if channels == "first" else last):
        raise UnsupportedImageError(
            f"needs 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels as its {channels} axis", source=source
        )
    return array.transpose(1, 2, 0) if channels == "first" else array
