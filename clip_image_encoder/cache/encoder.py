"""An encoder that looks into a cache first."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Literal, Protocol

import numpy as np

from clip_image_encoder._arguments import available_cores, check_batch_size, check_on_error
from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import in_forks
from clip_image_encoder._gate import Gate
from clip_image_encoder._prepared import are_prepared
from clip_image_encoder._progress import progress
from clip_image_encoder._threads import in_order, in_parts
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.batches import EncodedBatch, gather, until_failure
from clip_image_encoder.cache.named import Name, NamedImage, load, name_or_place, named
from clip_image_encoder.encoder import ImageEncoder
from clip_image_encoder.errors import ImageError
from clip_image_encoder.images import ImageInput, ImageLoader
from clip_image_encoder.images.encoded import EncodedImage
from clip_image_encoder.images.several import Inputs, inputs_of

__all__ = ["CachedEncoder", "EmbeddingCache"]

_Encode = Callable[[list[ImageInput], int], Generator[EncodedBatch]]
"""`ImageEncoder.stream`, called with images and a batch size."""


class EmbeddingCache(Protocol):
    """Where vectors are kept: what `CachedEncoder` asks of it; several threads may ask at a time."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, Vectors]:
        """Return the vectors `(d,)` that are there, of these keys."""
        ...

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Keep vectors `(d,)` float32; others may be dropped for them."""
        ...


class CachedEncoder:
    """An `ImageEncoder` that does not encode the same image twice.

    An image is known by its content: the bytes of its file, or the pixels of an array or a PIL image; and
    by the encoder's fingerprint, so that a cache may be shared by encoders and outlive them. A file that is
    changed is another image, wherever it lies. What a call computes on a device of its own, or without
    normalizing, is found again by such calls only. Errors are not kept. An encoder pickles with its cache, and
    begins to count anew.

    Args:
        encoder: Makes the vectors that are not there yet.
        cache: A `MemoryCache`, a `DiskCache`, or an `EmbeddingCache` of yours.

    Attributes:
        hits: Number of images whose vectors were found, since the encoder was made.
        misses: Number of images that passed the model, since the encoder was made.

    Raises:
        ConfigurationError: A component of the encoder can't be fingerprinted.

    Example:
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.cache import CachedEncoder, MemoryCache
        >>> encoder = CachedEncoder(ImageEncoder("tiny-shapes"), MemoryCache())
        >>> vectors = encoder.encode([Image.new("RGB", (64, 64), "red")] * 3)
        >>> vectors.shape, encoder.hits, encoder.misses
        ((3, 64), 2, 1)
    """

    def __init__(self, encoder: ImageEncoder, cache: EmbeddingCache) -> None:
        self._encoder = encoder
        self._cache = cache
        self._fingerprint = encoder.fingerprint
        self._renew()
        in_forks(self, CachedEncoder._renew)
        self.hits = 0
        self.misses = 0

    def __reduce__(self) -> tuple[type[CachedEncoder], tuple[ImageEncoder, EmbeddingCache]]:
        return CachedEncoder, (self._encoder, self._cache)

    @property
    def loader(self) -> ImageLoader:
        """The encoder's: turns an input into an upright RGB picture."""
        return self._encoder.loader

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._encoder.dimension

    @property
    def fingerprint(self) -> str:
        """The encoder's: a vector is the same, from the cache or not."""
        return self._fingerprint

    def encode(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int | None = None,
        device: Devices = None,
        *,
        normalize: bool = True,
        on_error: Literal["raise", "nan"] = "raise",
        show_progress: bool | None = None,
    ) -> Vectors:
        """Encode one image or many; as `ImageEncoder.encode`."""
        check_on_error(on_error)
        inputs = inputs_of(images)
        batches = self._stream(inputs, batch_size, device, normalize, show_progress)
        vectors = gather(until_failure(batches) if on_error == "raise" else batches, dimension=self.dimension)
        return vectors[0] if inputs.is_single else vectors

    def stream(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int | None = None,
        device: Devices = None,
        *,
        normalize: bool = True,
        show_progress: bool | None = None,
    ) -> Generator[EncodedBatch]:
        """Encode any number of images in bounded memory; as `ImageEncoder.stream`."""
        return self._stream(inputs_of(images), batch_size, device, normalize, show_progress)

    def _stream(
        self, inputs: Inputs, batch_size: int | None, device: Devices, normalize: bool, show_progress: bool | None
    ) -> Generator[EncodedBatch]:
        devices = resolve_devices(self._encoder._device if device is None else device, self._encoder.backend.devices)
        size = check_batch_size(batch_size, devices)
        kind, gate = self._kind(device, normalize=normalize), self._gate(devices)
        encode = partial(self._encoder.stream, device=device, normalize=normalize, show_progress=False)

        def run() -> Generator[EncodedBatch]:
            on_its_way: set[Name] = set()
            with closing(self._load(inputs, size, kind, gate, on_its_way)) as loaded:
                for start, part in zip(itertools.count(step=size), in_parts(loaded, size), strict=False):
                    with gate.closed() if gate else nullcontext():
                        batch = self._encode_part(part, start, encode)
                    on_its_way.difference_update(image.name for image in part)
                    yield batch

        return progress(run(), total=inputs.total, show=show_progress)

    @property
    def _num_workers(self) -> int:
        return self._encoder.num_workers

    def _prepare(self, item: object, /) -> NamedImage:
        """Look for an image in the cache, and load it if it isn't there, to be encoded later in its place."""
        image = named(self.loader, self._kind(None, normalize=True), item)
        vector = self._look_up([image.name]).get(image.name)
        return load(self._encoder, replace(image, vector=vector))

    def _renew(self) -> None:
        self._lock = Lock()

    def _kind(self, device: Devices, *, normalize: bool) -> str:
        """Return what decides a vector besides the image.

        Raises:
            ConfigurationError: There is no such device.
        """
        kind = self._fingerprint + ("" if normalize else " not normalized")
        if device is None:
            return kind
        # Devices of one kind compute the same, and "auto" is another dtype on another kind.
        names = resolve_devices(device, self._encoder.backend.devices)
        return f"{kind} on {', '.join(sorted({name.partition(':')[0] for name in names}))}"

    def _gate(self, devices: Sequence[str]) -> Gate | None:
        """Return what holds loading threads back while a model on the CPU computes, as in `ImageEncoder`."""
        return Gate() if set(devices) == {"cpu"} and self._encoder.num_workers <= available_cores() else None

    def _load(
        self, inputs: Inputs, size: int, kind: str, gate: Gate | None, on_its_way: set[Name]
    ) -> Generator[NamedImage]:
        """Yield the images in their order, each with its vector or loaded; threads work up to a batch ahead."""
        workers = 0 if inputs.total == 1 or are_prepared(inputs.images) else self._encoder.num_workers
        name_it, load_it = partial(name_or_place, self.loader, kind), partial(load, self._encoder)
        with_names = in_order(
            gate.guard(name_it) if gate else name_it, enumerate(inputs.images), workers=workers, ahead=max(size, 2)
        )
        loaded = in_order(
            gate.guard(load_it) if gate else load_it,
            self._look_up_parts(in_parts(with_names, size), on_its_way),
            workers=workers,
            ahead=max(size, 2),
        )
        with closing(with_names), closing(loaded):
            yield from loaded

    def _look_up_parts(self, parts: Iterable[list[NamedImage]], on_its_way: set[Name]) -> Generator[NamedImage]:
        """Yield the images with the vectors that the cache has; one lookup for each part.

        Args:
            parts: The images.
            on_its_way: Names of images that come before; it grows by those of each part.
        """
        for part in parts:
            found = self._look_up([image.name for image in part if image.vector is None])
            for image in part:
                yield replace(image, vector=found.get(image.name, image.vector), follows=image.name in on_its_way)
                on_its_way.add(image.name)

    def _encode_part(self, part: Sequence[NamedImage], start: int, encode: _Encode) -> EncodedBatch:
        """Return the vectors of images that follow each other.

        Args:
            part: The images.
            start: Place of the first of them among all.
            encode: Makes the vectors that are missing.
        """
        outcomes: dict[Name, Vectors | ImageError] = {
            image.name: image.vector for image in part if image.vector is not None
        }
        # Their vectors may have come into the cache with a part before this one.
        outcomes |= self._look_up([image.name for image in part if image.follows and image.vector is None])
        missing: dict[Name, object] = {}
        for image in part:
            if image.name not in outcomes:
                missing.setdefault(image.name, image.item)  # the first is the one that is loaded
        with self._lock:
            self.hits += len(part) - len(missing)
            self.misses += len(missing)
        images: list[ImageInput] = list(missing.values())  # type: ignore[arg-type]  # what is none gets an ImageError
        batches = list(encode(images, len(part)))  # one of all that are missing, or none
        encoded = dict(zip(missing, (outcome for batch in batches for _, outcome in batch.outcomes()), strict=True))
        self._keep(encoded)
        embeddings, failures = _assemble(part, start, outcomes | encoded, dimension=self.dimension)
        return EncodedBatch(
            start=start,
            embeddings=embeddings,
            failures=failures,
            loading_seconds=sum(image.seconds for image in part) + sum(batch.loading_seconds for batch in batches),
            encoding_seconds=sum(batch.encoding_seconds for batch in batches),
        )

    def _look_up(self, names: Sequence[Name]) -> dict[Name, Vectors]:
        keys = [name for name in names if isinstance(name, bytes)]
        found = self._cache.get(keys) if keys else {}
        # A cache outlives programs, and may come back damaged.
        return {key: vector for key, vector in found.items() if vector.shape == (self.dimension,)}

    def _keep(self, encoded: Mapping[Name, Vectors | ImageError]) -> None:
        pairs = ((name, outcome) for name, outcome in encoded.items() if isinstance(name, bytes))
        if vectors := {key: outcome for key, outcome in pairs if not isinstance(outcome, ImageError)}:
            self._cache.put(vectors)


def _assemble(
    part: Sequence[NamedImage], start: int, outcomes: Mapping[Name, Vectors | ImageError], *, dimension: int
) -> tuple[Vectors, tuple[ImageError, ...]]:
    """Return the row of each image, `(n, dimension)` and NaN where it failed; and the errors, each in its place."""
    embeddings: Vectors = np.full((len(part), dimension), np.nan, dtype=np.float32)
    failures: list[ImageError] = []
    for row, image in enumerate(part):
        outcome = outcomes[image.name]
        if isinstance(outcome, ImageError):
            failure = outcome.at(start + row)
            if isinstance(image.item, EncodedImage):
                failure.source = image.item.source  # the error may be that of another file with the same content
            failures.append(failure)
        else:
            embeddings[row] = outcome
    return embeddings, tuple(failures)
