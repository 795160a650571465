"""Calls of backends of both towers: they run within the device's memory, and their results are checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, MutableMapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import Pixels, Vectors, unit_rows
from clip_image_encoder.errors import BackendError, ContractError, EncoderError

__all__ = ["check_pixels", "check_rows", "compute_rows", "finish_rows"]

_logger = logging.getLogger("clip_image_encoder.pipeline")

_Rows = TypeVar("_Rows", bound=NDArray[np.float32])

# Words of the runtimes' errors. Their classes are not compared, since that would import every runtime.
_OUT_OF_MEMORY = (
    "out of memory",  # CUDA, Apple's MPS
    "alloc_failed",  # CUDA's libraries
    "can't allocate memory",  # torch on a CPU
    "failed to allocate",  # ONNX Runtime, OpenVINO on a CPU
    "smaller than requested bytes",  # ONNX Runtime on CUDA with a limit
    "not enough memory",  # DirectML, and torch on Windows
    "exceeded max size of memory",  # OpenVINO on a GPU
    "cl_out_of_resources",
    "cl_mem_object_allocation_failure",
    "bad_alloc",  # C++, and as Windows spells it
    "bad allocation",
)


def compute_rows(
    compute: Callable[[slice], _Rows],
    count: int,
    *,
    room: MutableMapping[str, int],
    name: str,
    device: str,
    noun: str,
    shape: tuple[int | None, ...],
) -> _Rows:
    """Run a backend over a batch, with half as many rows at a time each time the device's memory runs out.

    Args:
        compute: Function that takes a slice of the batch's rows and returns their features.
        count: Number of rows in the batch.
        room: Largest number of rows at a time for each device whose memory has run out; written to by this
            function, so that later batches begin with this number.
        name: Name of the backend, for messages.
        device: Name of the device that the backend runs on.
        noun: Word for a row in messages, "image" or "text".
        shape: Shape of the features of one row; None stands for any length.

    Raises:
        BackendError: The device failed, or its memory runs out with a single row.
        ContractError: The features are not float32 of that shape.
    """
    parts: list[_Rows] = []
    start = 0
    while start < count:
        stop = min(count, start + room.get(device, count))
        try:
            features = compute(slice(start, stop))
        except EncoderError:
            raise
        except Exception as error:
            if not _is_out_of_memory(error):
                raise BackendError(f"{name} failed on {device}: {type(error).__name__}: {error}") from error
            if stop - start == 1:
                message = f"{name}: {device} is out of memory with a single {noun}; try another dtype"
                raise BackendError(message) from error
            room[device] = (stop - start + 1) // 2
            _logger.warning(
                "%s: %s is out of memory with %d %ss; trying %d", name, device, stop - start, noun, room[device]
            )
            continue  # leaves this block, which frees the error, and with its traceback the failed call's memory
        check_rows(features, name=name, shape=(stop - start, *shape))
        parts.append(features)
        start = stop
    if len(parts) == 1:
        return parts[0]
    joined: _Rows = np.concatenate(parts)  # type: ignore[assignment]  # of the same dtype, which mypy can't follow
    return joined


def check_rows(values: object, *, name: str, shape: tuple[int | None, ...]) -> None:
    """Check the array that a component returned.

    Args:
        values: Value that the component returned.
        name: Name of the component, for the error message.
        shape: Shape that the array must have; None stands for any length.

    Raises:
        ContractError: The value is not a numpy array, or not float32 of that shape.
    """
    wanted = f"({', '.join('tokens' if length is None else str(length) for length in shape)})"
    if not isinstance(values, np.ndarray):
        raise ContractError(f"{name} returned {type(values).__name__}, not a numpy array {wanted}")
    fits = len(values.shape) == len(shape) and all(
        length in (None, found) for length, found in zip(shape, values.shape, strict=True)
    )
    if values.dtype != np.float32 or not fits:
        raise ContractError(f"{name} returned {values.dtype} {values.shape}, not float32 {wanted}")


def check_pixels(pixels: Pixels, size: tuple[int, int] | None, *, name: str) -> None:
    """Check the pixels that a preprocess returned for one image.

    Args:
        pixels: Array that the preprocess returned.
        size: Size `(height, width)` that the backend takes; None allows any size.
        name: Name of the preprocess, for the error message.

    Raises:
        ContractError: The array is neither uint8 `(H, W, 3)` nor float32 `(3, H, W)` of that size.
    """
    height, width = size or ("H", "W")
    is_bytes = pixels.dtype == np.uint8
    sides = pixels.shape[:2] if is_bytes else pixels.shape[1:] if pixels.dtype.name == "float32" else None
    channels = pixels.shape[-1 if is_bytes else 0] if pixels.ndim == 3 else 0
    if channels != 3 or sides is None or not all(sides) or (size is not None and sides != size):
        raise ContractError(
            f"{name} returned {pixels.dtype} {pixels.shape}; the backend takes uint8 ({height}, {width}, 3) or "
            f"float32 (3, {height}, {width})"
        )


def finish_rows(vectors: Vectors, *, normalize: bool, describe: Callable[[int], str]) -> Vectors:
    """Check that a model's vectors are finite, and return them, scaled to length 1 if that is wanted.

    Args:
        vectors: Vectors `(n, d)` float32.
        normalize: Whether each vector is scaled to length 1.
        describe: Function that takes a row's number and returns the name of its input, for the error message.

    Raises:
        BackendError: A number is NaN or infinite, or a vector that is to be scaled is zero.
    """
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        first = describe(int(np.argmin(finite)))
        raise BackendError(f"the model gave NaN or infinity for {first}; try dtype='float32'")
    return unit_rows(vectors) if normalize else vectors


def _is_out_of_memory(error: Exception) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    message = str(error).lower()
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or any(words in message for words in _OUT_OF_MEMORY)
