"""From many inputs to batches of vectors: loaded ahead on threads, in order, each failure kept in its place."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass

import numpy as np

from clip_image_encoder._gate import Gate
from clip_image_encoder._threads import in_order, in_parts
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.errors import BackendError, ContractError, EncoderError, ImageError
from clip_image_encoder.protocols import Backend, Pooling

__all__ = [
    "EncodedBatch",
    "LoadedBatch",
    "encode_batches",
    "load_batches",
    "unit_rows",
]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoadedBatch:
    """A run of inputs before the model sees them.

    Attributes:
        start: place of the first input among all, from 0.
        items: an input's pixels, or the error that took their place.
        loading_seconds: that threads spent on them, in sum.
    """

    start: int
    items: Sequence[Pixels | ImageError]
    loading_seconds: float

    @property
    def failures(self) -> tuple[ImageError, ...]:
        """The errors among the items, in order."""
        return tuple(item for item in self.items if isinstance(item, ImageError))


@dataclass(frozen=True, kw_only=True)
class EncodedBatch:
    """The vectors of a run of inputs.

    Attributes:
        start: place of the first input among all, from 0.
        embeddings: `(m, d)` float32, a row an input; the row of an input that failed is NaN.
        failures: the errors of those inputs, in order; each knows its `index` among all.
        loading_seconds: that threads spent on reading and decoding the inputs, in sum.
        encoding_seconds: that the model took.
    """

    start: int
    embeddings: Vectors
    failures: tuple[ImageError, ...]
    loading_seconds: float = 0.0
    encoding_seconds: float = 0.0


def load_batches(
    images: Iterable[object], load: Callable[[object], Pixels], *, batch_size: int, num_workers: int
) -> Generator[LoadedBatch]:
    """Load inputs on threads, up to a batch ahead of the model, and hand them on in order.

    Inputs are drawn on the caller's thread; if that raises, what was drawn before is handed on
    first. The threads are gone once the iterator is finished or closed, but for one whose read does
    not end within a second.

    Args:
        images: any iterable, endless ones too.
        load: makes pixels of one input, or raises ImageError; called on the threads.
        batch_size: inputs a batch.
        num_workers: number of threads; 0 loads on the caller's thread.
    """

    def load_or_fail(indexed: tuple[int, object]) -> tuple[Pixels | ImageError, float]:
        index, image = indexed
        start = time.perf_counter()
        loaded: Pixels | ImageError
        try:
            loaded = load(image)
        except ImageError as error:
            loaded = error.at(index)
        return loaded, time.perf_counter() - start

    with closing(in_order(load_or_fail, enumerate(images), workers=num_workers, ahead=2 * batch_size)) as loaded:
        for start, items in zip(itertools.count(step=batch_size), in_parts(loaded, batch_size), strict=False):
            pixels, seconds = zip(*items, strict=True)
            yield LoadedBatch(start=start, items=pixels, loading_seconds=sum(seconds))


def encode_batches(
    batches: Iterable[LoadedBatch],
    *,
    backend: Backend,
    pooling: Pooling,
    devices: Sequence[str],
    normalize: bool,
    gate: Gate | None = None,
) -> Generator[EncodedBatch]:
    """Run the model over loaded batches, in order; several devices take batches in turn.

    Args:
        batches: from `load_batches`.
        backend: computes features.
        pooling: makes vectors of them.
        devices: where the backend computes.
        normalize: scale each vector to length 1.
        gate: closed while the backend computes on the CPU.

    Raises:
        BackendError: the device failed, ran out of memory with a single picture, or gave NaN, an
            infinity or a zero vector.
        ContractError: the backend or the pooling returned what its protocol does not allow.
    """

    def encode(assigned: tuple[LoadedBatch, str]) -> EncodedBatch:
        batch, device = assigned
        with gate.closed() if gate and device == "cpu" else nullcontext():
            start = time.perf_counter()
            embeddings = _embeddings(batch, backend=backend, pooling=pooling, device=device, normalize=normalize)
            seconds = time.perf_counter() - start
        return EncodedBatch(
            start=batch.start,
            embeddings=embeddings,
            failures=batch.failures,
            loading_seconds=batch.loading_seconds,
            encoding_seconds=seconds,
        )

    # A CUDA device has two batches: one is copied to it while it computes the other.
    places = [device for device in devices for _ in range(2 if device.startswith("cuda") else 1)]
    assigned = zip(batches, itertools.cycle(places), strict=False)
    workers = len(places) if len(places) > 1 else 0
    return in_order(encode, assigned, workers=workers, ahead=len(places))


def unit_rows(vectors: Vectors) -> Vectors:
    """Return the rows of `(n, d)` finite float32 vectors scaled to length 1, as float32.

    Raises:
        BackendError: a row is zero, and has no direction.
    """
    # In float64 the squares of float32 numbers neither overflow nor vanish.
    exact = vectors.astype(np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    if not norms.all():
        raise BackendError("the model gave a zero vector, which has no direction; is the checkpoint sound?")
    unit: Vectors = (exact / norms).astype(np.float32)
    return unit


def _embeddings(batch: LoadedBatch, *, backend: Backend, pooling: Pooling, device: str, normalize: bool) -> Vectors:
    embeddings = np.full((len(batch.items), backend.dimension), np.nan, dtype=np.float32)
    rows = [row for row, item in enumerate(batch.items) if not isinstance(item, ImageError)]
    pixels = [item for item in batch.items if not isinstance(item, ImageError)]
    if len({item.dtype for item in pixels}) > 1:
        raise ContractError("the preprocess returned uint8 and float32 pixels in one batch; it must keep to one")
    if rows:
        stacked: Pixels = np.stack(pixels)  # type: ignore[assignment]  # of one dtype, which mypy can't follow
        features = _features(stacked, backend=backend, pooling=pooling, device=device)
        vectors = _pooled(features, backend=backend, pooling=pooling)
        if not np.isfinite(vectors).all():
            first = batch.start + rows[int(np.argmin(np.isfinite(vectors).all(axis=1)))]
            raise BackendError(f"the model gave NaN or infinity for image {first}; try dtype='float32'")
        embeddings[rows] = unit_rows(vectors) if normalize else vectors
    return embeddings


def _features(pixels: Pixels, *, backend: Backend, pooling: Pooling, device: str) -> Tokens | Vectors:
    """Run the backend, with half as many pictures at a time when the device's memory runs out."""
    name, count = type(backend).__name__, len(pixels)
    try:
        features = backend(pixels, output=pooling.reads, device=device)
    except EncoderError:
        raise
    except Exception as error:
        if not _is_out_of_memory(error):
            raise BackendError(f"{name} failed on {device}: {type(error).__name__}: {error}") from error
        if count == 1:
            raise BackendError(f"{name}: {device} is out of memory with a single image; try another dtype") from error
        _logger.warning("%s: %s is out of memory with %d images; trying half as many", name, device, count)
    else:
        axes = 2 if pooling.reads == "pooled" else 3
        _check(name, features, axes=axes, count=count, dimension=backend.dimension)
        return features
    # Out of the except block, so that the error and with it the failed call's memory are gone.
    half = (count + 1) // 2
    parts = [
        _features(part, backend=backend, pooling=pooling, device=device) for part in (pixels[:half], pixels[half:])
    ]
    return np.concatenate(parts)


def _pooled(features: Tokens | Vectors, *, backend: Backend, pooling: Pooling) -> Vectors:
    name = type(pooling).__name__
    try:
        vectors = pooling(features)
    except EncoderError:
        raise
    except Exception as error:
        raise ContractError(f"{name} raised {type(error).__name__}: {error}") from error
    _check(name, vectors, axes=2, count=len(features), dimension=backend.dimension)
    return vectors


def _check(name: str, values: object, *, axes: int, count: int, dimension: int) -> None:
    shape = f"({count}, tokens, {dimension})" if axes == 3 else f"({count}, {dimension})"
    if not isinstance(values, np.ndarray):
        raise ContractError(f"{name} returned {type(values).__name__}, not a numpy array {shape}")
    right_shape = values.ndim == axes and values.shape[0] == count and values.shape[-1] == dimension
    if values.dtype != np.float32 or not right_shape:
        raise ContractError(f"{name} returned {values.dtype} {values.shape}, not float32 {shape}")


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


def _is_out_of_memory(error: Exception) -> bool:
    names = {kind.__name__ for kind in type(error).__mro__}
    message = str(error).lower()
    return bool(names & {"OutOfMemoryError", "MemoryError"}) or any(words in message for words in _OUT_OF_MEMORY)
