"""The way from many inputs to batches of vectors: inputs are loaded ahead on threads, and results come in order.

```text
images ─▶ loading threads ─▶ batches of pixels ─▶ backend ─▶ pooling ─▶ batches of vectors
          2 n images ahead   n images, (n, H, W, 3) (n, tokens, d)        (n, d)
```

An input that can't be loaded keeps its place: it becomes an error in its batch and a row of NaN.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from contextlib import closing, nullcontext
from queue import SimpleQueue
from typing import Any, Literal, TypeVar, cast

import numpy as np

from clip_image_encoder._arguments import available_cores, batch_size_on, check_num_workers, check_on_error
from clip_image_encoder._computing import check_rows, compute_rows, finish_rows
from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._gate import Gate
from clip_image_encoder._threads import in_order, in_parts
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.batches import EncodedBatch, LoadedBatch, until_failure
from clip_image_encoder.errors import ConfigurationError, ContractError, EncoderError, ImageError
from clip_image_encoder.protocols import Backend, Output, Pooling

__all__ = ["on_devices", "run"]

_Batch = TypeVar("_Batch")

_AHEAD = 4
"""Number of batches for each of several devices that are drawn before the first result is yielded."""


def run(
    images: Iterable[object],
    load: Callable[[object], Pixels] | None,
    *,
    backend: Backend,
    pooling: Pooling,
    device: Devices = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    normalize: bool = True,
    on_error: Literal["raise", "nan"] = "raise",
) -> Generator[EncodedBatch]:
    """Encode inputs batch by batch, in their order, with components of your own; `ImageEncoder` calls this function.

    The arguments are checked at the call, not at the first batch. Inputs are drawn on the caller's
    thread; if drawing raises, the inputs drawn before are encoded and yielded first. The threads end when the
    generator is finished or closed, except for one whose read does not end within a second.

    Args:
        images: Any iterable of inputs; it may be endless.
        load: Function that turns one input into pixels, or raises ImageError; called on the loading threads. None
            means that `images` are pixels already, in a list, or in an array of 4 axes, which is not copied.
        backend: Backend that computes features of pixels.
        pooling: Pooling that turns features into vectors.
        device: Name of a device of the backend, or a list of names to split the batches over; None means the
            backend's best device.
        batch_size: Number of inputs in a batch; None means 128 if all devices are CUDA's, and 32 otherwise.
        num_workers: Number of loading threads; 0 loads on the caller's thread, None means one per core.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
        on_error: "raise" raises the first ImageError before its batch is encoded; "nan" yields it in its batch's
            `failures`, with a row of NaN.

    Yields:
        EncodedBatch: The vectors and the failures of a batch.

    Raises:
        ConfigurationError: An argument is wrong.
        ImageError: An input can't be loaded, and `on_error` is "raise".
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
    if load is None and not isinstance(images, (list, np.ndarray)):
        raise ConfigurationError(
            f"without load, images must be a list or an array of pixels, not {type(images).__name__}"
        )
    devices = resolve_devices(device, backend.devices)
    return _run(
        images,
        load,
        backend=backend,
        pooling=pooling,
        devices=devices,
        batch_size=batch_size_on(devices, batch_size),
        num_workers=check_num_workers(num_workers),
        normalize=normalize,
        on_error=on_error,
    )


def _run(
    images: Iterable[object],
    load: Callable[[object], Pixels] | None,
    *,
    backend: Backend,
    pooling: Pooling,
    devices: Sequence[str],
    batch_size: int,
    num_workers: int,
    normalize: bool,
    on_error: Literal["raise", "nan"],
) -> Generator[EncodedBatch]:
    # A user who asks for more threads than cores loads over a network or from a slow disk: these threads mostly wait,
    # and may go on while the model computes.
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
    loading = (
        _load_batches(images, load, gate=gate, size=batch_size, workers=num_workers)
        if load
        else _batches_of_pixels(cast("Sequence[Pixels] | Pixels", images), size=batch_size)
    )
    with closing(loading) as loaded:
        batches = until_failure(loaded) if on_error == "raise" else loaded
        with closing(on_devices(encode, batches, devices, is_one=is_one)) as encoded:
            yield from encoded


def on_devices(
    encode: Callable[[_Batch, str], EncodedBatch], batches: Iterable[_Batch], devices: Sequence[str], *, is_one: bool
) -> Generator[EncodedBatch]:
    """Encode batches on one or several devices, and yield the results in the order of the batches.

    Each of several devices has a thread; the next batch goes to the first device that is free.

    Args:
        encode: Function that takes a batch and the name of a device, and returns the batch's vectors.
        batches: Batches to encode, of whatever type `encode` takes.
        devices: Names of the devices.
        is_one: Whether there is at most one batch, which is then encoded on the caller's thread.
    """
    # A CUDA device has two places: one batch is copied to it while it computes the other.
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
    # Results come in order: while a slow device computes the next one to be yielded, fast ones compute those after.
    ahead = len(places) if len(set(places)) == 1 else _AHEAD * len(places)
    return in_order(encode_where_free, batches, workers=workers, ahead=ahead)


def _batches_of_pixels(pixels: Sequence[Pixels] | Pixels, *, size: int) -> Generator[LoadedBatch]:
    for start in range(0, len(pixels), size):
        yield LoadedBatch(start=start, items=pixels[start : start + size], loading_seconds=0.0)


def _load_batches(
    images: Iterable[object], load: Callable[[object], Pixels], *, gate: Gate | None, size: int, workers: int
) -> Generator[LoadedBatch]:
    """Load inputs on threads, up to two batches ahead of the model, and yield them as batches in order."""

    def load_or_fail(indexed: tuple[int, object]) -> tuple[Pixels | ImageError, float]:
        index, image = indexed
        start = time.perf_counter()
        loaded: Pixels | ImageError
        try:
            loaded = load(image)
        except ImageError as error:
            loaded = error.at(index)
        return loaded, time.perf_counter() - start

    # The gate is outside of the function that measures the time: waiting at the gate is not loading.
    function = gate.guard(load_or_fail) if gate else load_or_fail
    with closing(in_order(function, enumerate(images), workers=workers, ahead=2 * size)) as loaded:
        for start, items in zip(itertools.count(step=size), in_parts(loaded, size), strict=False):
            pixels, seconds = zip(*items, strict=True)
            yield LoadedBatch(start=start, items=pixels, loading_seconds=sum(seconds))


def _embeddings(
    batch: LoadedBatch, *, backend: Backend, pooling: Pooling, device: str, room: dict[str, int], normalize: bool
) -> Vectors:
    embeddings = np.full((len(batch.items), backend.dimension), np.nan, dtype=np.float32)
    # Images of one size share a forward pass. Most models have one size; NaFlex models have one for each image.
    groups: dict[tuple[int, ...], list[int]] = {}
    dtypes = set()
    for row, item in enumerate(batch.items):
        if not isinstance(item, ImageError):
            groups.setdefault(item.shape, []).append(row)
            dtypes.add(item.dtype)
    if len(dtypes) > 1:
        raise ContractError("the preprocess returned uint8 and float32 pixels in one batch; return one dtype only")
    for rows in groups.values():
        pixels: Any = (
            np.ascontiguousarray(batch.items)
            if isinstance(batch.items, np.ndarray)
            else np.stack([batch.items[row] for row in rows])  # type: ignore[misc]  # without the errors
        )
        features = _features(pixels, backend=backend, pooling=pooling, device=device, room=room)
        vectors = _pooled(features, pooling=pooling, dimension=backend.dimension)
        places = [batch.start + row for row in rows]
        embeddings[rows] = finish_rows(vectors, normalize=normalize, describe=lambda row: f"image {places[row]}")  # noqa: B023
    return embeddings


def _features(
    pixels: Pixels, *, backend: Backend, pooling: Pooling, device: str, room: dict[str, int]
) -> Tokens | Vectors:
    """Return the features that the pooling reads, `(n, d)` or `(n, tokens, d)` float32."""
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
