"""From many inputs to batches of vectors: loaded ahead on threads, in order, each failure kept in its place."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from contextlib import closing, nullcontext
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

import numpy as np

from clip_image_encoder._arguments import available_cores, check_batch_size, check_num_workers, check_on_error
from clip_image_encoder._computing import check_rows, compute_rows, finish_rows
from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._gate import Gate
from clip_image_encoder._threads import in_order, in_parts
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.batches import EncodedBatch, LoadedBatch, until_failure
from clip_image_encoder.errors import ContractError, EncoderError, ImageError
from clip_image_encoder.protocols import Backend, Output, Pooling

__all__ = ["on_devices", "run"]

_Batch = TypeVar("_Batch")

_AHEAD = 4
"""Batches for each of several devices that are encoded or wait for it, before the first of them is handed on."""


def run(
    images: Iterable[object],
    load: Callable[[object], Pixels],
    *,
    backend: Backend,
    pooling: Pooling,
    device: Devices = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    normalize: bool = True,
    on_error: Literal["raise", "nan"] = "raise",
) -> Generator[EncodedBatch]:
    """Encode inputs batch by batch, in their order: what `ImageEncoder` does with its components.

    The arguments are checked at the call, not at the first batch. Inputs are drawn on the caller's
    thread; if that raises, what was drawn before is handed on first. The threads are gone once the
    generator is finished or closed, but for one whose read does not end within a second.

    Args:
        images: Any iterable, endless ones too.
        load: Makes pixels of one input, or raises ImageError; called on the loading threads.
        backend: Computes features.
        pooling: Makes vectors of the features.
        device: Name of a device of the backend, a list of them that take batches in turn, or None for its best.
        batch_size: Number of inputs in a batch; None is 256 if all devices are CUDA's, and 32 if not.
        num_workers: Number of loading threads; 0 loads on the caller's thread, None means one per core.
        normalize: Whether each vector is scaled to length 1.
        on_error: "raise" raises the first ImageError before its batch passes the model; "nan" hands it on
            in its batch.

    Yields:
        EncodedBatch: The vectors and the failures of a batch.

    Raises:
        ConfigurationError: An argument is wrong.
        ImageError: An input can't be loaded, with `on_error="raise"`.
        BackendError: The device failed, ran out of memory with a single image, or gave NaN, an
            infinity or a zero vector.
        ContractError: The backend or the pooling returned what its protocol does not allow.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder import PretrainedPooling
        >>> from clip_image_encoder.pipeline import run
        >>> from clip_image_encoder.testing import ToyBackend
        >>> shades = range(3)
        >>> batches = run(
        ...     shades,
        ...     lambda shade: np.full((32, 32, 3), shade, np.uint8),
        ...     backend=ToyBackend(),
        ...     pooling=PretrainedPooling(),
        ...     batch_size=2,
        ... )
        >>> [len(batch.embeddings) for batch in batches]
        [2, 1]
    """
    check_on_error(on_error)
    devices = resolve_devices(device, backend.devices)
    return _run(
        images,
        load,
        backend=backend,
        pooling=pooling,
        devices=devices,
        batch_size=check_batch_size(batch_size, devices),
        num_workers=check_num_workers(num_workers),
        normalize=normalize,
        on_error=on_error,
    )


def _run(
    images: Iterable[object],
    load: Callable[[object], Pixels],
    *,
    backend: Backend,
    pooling: Pooling,
    devices: Sequence[str],
    batch_size: int,
    num_workers: int,
    normalize: bool,
    on_error: Literal["raise", "nan"],
) -> Generator[EncodedBatch]:
    # More threads than cores are there to wait for a network or a disk, and go on beside the model.
    gate = Gate() if num_workers <= available_cores() else None
    room: dict[str, int] = {}

    def encode(batch: LoadedBatch, device: str) -> EncodedBatch:
        with gate.closed() if gate and device == "cpu" else nullcontext():
            start = time.perf_counter()
            embeddings = _embeddings(
                batch, backend=backend, pooling=pooling, device=device, room=room, normalize=normalize
            )
            seconds = time.perf_counter() - start
        return EncodedBatch(
            start=batch.start,
            embeddings=embeddings,
            failures=batch.failures,
            loading_seconds=batch.loading_seconds,
            encoding_seconds=seconds,
        )

    is_one = isinstance(images, Sized) and len(images) <= batch_size
    loading = _load_batches(images, load, gate=gate, size=batch_size, workers=num_workers)
    with closing(loading) as loaded:
        batches = until_failure(loaded) if on_error == "raise" else loaded
        with closing(on_devices(encode, batches, devices, is_one=is_one)) as encoded:
            yield from encoded


def on_devices(
    encode: Callable[[_Batch, str], EncodedBatch], batches: Iterable[_Batch], devices: Sequence[str], *, is_one: bool
) -> Generator[EncodedBatch]:
    """Encode batches; of several devices, each on a thread, whichever is free takes the next. They come in order.

    Args:
        encode: Makes vectors of a batch on the device of that name.
        batches: What it is called with.
        devices: Names of the devices.
        is_one: Whether there is one batch at most, which is encoded on the caller's thread.
    """
    # A CUDA device has two batches: one is copied to it while it computes the other.
    places = [device for device in devices for _ in range(2 if device.startswith("cuda") else 1)]
    free: SimpleQueue[str] = SimpleQueue()
    for place in places:
        free.put(place)

    def encode_where_free(batch: _Batch) -> EncodedBatch:
        place = free.get()
        try:
            return encode(batch, place)
        finally:
            free.put(place)

    workers = 0 if is_one or len(places) == 1 else len(places)
    # So many batches go by while a slow device has one of them, which is the next that is handed on.
    ahead = len(places) if len(set(places)) == 1 else _AHEAD * len(places)
    return in_order(encode_where_free, batches, workers=workers, ahead=ahead)


def _load_batches(
    images: Iterable[object], load: Callable[[object], Pixels], *, gate: Gate | None, size: int, workers: int
) -> Generator[LoadedBatch]:
    """Load inputs on threads, up to a batch ahead of the model, and hand them on in order."""

    def load_or_fail(indexed: tuple[int, object]) -> tuple[Pixels | ImageError, float]:
        index, image = indexed
        start = time.perf_counter()
        loaded: Pixels | ImageError
        try:
            loaded = load(image)
        except ImageError as error:
            loaded = error.at(index)
        return loaded, time.perf_counter() - start

    # The clock of an input starts behind the gate: who waits there doesn't load.
    function = gate.behind(load_or_fail) if gate else load_or_fail
    with closing(in_order(function, enumerate(images), workers=workers, ahead=2 * size)) as loaded:
        for start, items in zip(itertools.count(step=size), in_parts(loaded, size), strict=False):
            pixels, seconds = zip(*items, strict=True)
            yield LoadedBatch(start=start, items=pixels, loading_seconds=sum(seconds))


def _embeddings(
    batch: LoadedBatch, *, backend: Backend, pooling: Pooling, device: str, room: dict[str, int], normalize: bool
) -> Vectors:
    embeddings = np.full((len(batch.items), backend.dimension), np.nan, dtype=np.float32)
    # Images of one size pass the model together; most models have one size for all.
    groups: dict[tuple[int, ...], list[int]] = {}
    dtypes = set()
    for row, item in enumerate(batch.items):
        if not isinstance(item, ImageError):
            groups.setdefault(item.shape, []).append(row)
            dtypes.add(item.dtype)
    if len(dtypes) > 1:
        raise ContractError("the preprocess returned uint8 and float32 pixels in one batch; it must keep to one")
    for rows in groups.values():
        pixels: Any = [batch.items[row] for row in rows]  # of one shape and dtype, and no errors
        stacked: Pixels = np.stack(pixels)
        features = _features(stacked, backend=backend, pooling=pooling, device=device, room=room)
        vectors = _pooled(features, pooling=pooling, dimension=backend.dimension)
        places = [batch.start + row for row in rows]
        embeddings[rows] = finish_rows(vectors, normalize=normalize, describe=lambda row: f"image {places[row]}")  # noqa: B023
    return embeddings


def _features(
    pixels: Pixels, *, backend: Backend, pooling: Pooling, device: str, room: dict[str, int]
) -> Tokens | Vectors:
    """Return what the pooling reads, `(n, d)` or `(n, tokens, d)`."""
    output: Output = "pooled" if pooling.reads == "pooled" else "tokens"

    def compute(rows: slice) -> Tokens | Vectors:
        return backend(pixels[rows], output=output, device=device)

    features = compute_rows(
        compute,
        len(pixels),
        room=room,
        name=type(backend).__name__,
        device=device,
        noun="image",
        shape=(backend.dimension,) if output == "pooled" else (None, backend.dimension),
    )
    if pooling.reads == "prefix":
        return features[:, : backend.prefix_tokens]
    if pooling.reads == "patches":
        return features[:, backend.prefix_tokens :]
    return features


def _pooled(features: Tokens | Vectors, *, pooling: Pooling, dimension: int) -> Vectors:
    name = type(pooling).__name__
    try:
        vectors = pooling(features)
    except EncoderError:
        raise
    except Exception as error:
        raise ContractError(f"{name} raised {type(error).__name__}: {error}") from error
    check_rows(vectors, name=name, shape=(len(features), dimension))
    return vectors
