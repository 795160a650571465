"""What is the same for both towers: a call of a backend within its memory, and what is checked of its results."""

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

# Each runtime has errors and words of its own; importing them all to ask would load them all.
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
    """Run a backend over a batch, with half as many rows at a time when the device's memory runs out.

    Args:
        compute: Returns the features of some rows of the batch.
        count: Number of rows in the batch.
        room: Number of rows that a device takes at a time, where it had no memory for more; written to here, so that
            the next batch begins with as many.
        name: Name of the backend.
        device: Name of the device that it runs on.
        noun: What a row is, "image" or "text".
        shape: Shape of one row of the features; None is any length.

    Raises:
        BackendError: The device failed, or is out of memory with a single row.
        ContractError: What came is not float32 of that shape.
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
            continue  # out of this block, so that the error and with it the failed call's memory are gone
        check_rows(features, name=name, shape=(stop - start, *shape))
        parts.append(features)
        start = stop
    if len(parts) == 1:
        return parts[0]
    joined: _Rows = np.concatenate(parts)  # type: ignore[assignment]  # of the same dtype, which mypy can't follow
    return joined


def check_rows(values: object, *, name: str, shape: tuple[int | None, ...]) -> None:
    """Check what a component returned.

    Args:
        values: What it returned.
        name: Of the component.
        shape: What it has to have; None is any length.

    Raises:
        ContractError: It is no numpy array, or not float32 of that shape.
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
    """Check what a preprocess returned for one image.

    Args:
        pixels: What it returned.
        size: `(height, width)` that the backend takes; None is any.
        name: Of the preprocess.

    Raises:
        ContractError: It is neither uint8 `(H, W, 3)` nor float32 `(3, H, W)` of that size.
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
    """Return vectors that are finite, `(n, d)`, and of length 1 if that is wanted.

    Args:
        vectors: `(n, d)` float32.
        normalize: Whether each vector is scaled to length 1.
        describe: Names the input of a row, for messages.

    Raises:
        BackendError: A number is NaN or infinite, or a vector that has to be scaled is zero.
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
