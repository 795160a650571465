"""CachedEncoder: an encoder that looks up vectors in a cache first.

```text
images ─▶ key of the content ─▶ look up ─▶ load if missing ─▶ encode if missing ─▶ store
          on threads            a batch     on threads         a batch
```
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Literal, Protocol

import numpy as np

from clip_image_encoder._arguments import available_cores, batch_size_on, check_on_error
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
"""Type of `ImageEncoder.stream` as it is called here, with images and a batch size."""


class EmbeddingCache(Protocol):
    """Protocol of caches for `CachedEncoder`, which may call one from several threads at a time."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, Vectors]:
        """Return the vectors that the cache has.

        Args:
            keys: Keys to look up.

        Returns:
            Vectors `(d,)` float32 by key, without the keys that are not in the cache.
        """
        ...

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Store vectors; the cache may drop others for them.

        Args:
            vectors: Vectors `(d,)` float32 by key.
        """
        ...


class CachedEncoder:
    """Wraps an `ImageEncoder` so that it does not encode the same image twice.

    The key of an image is its content (the bytes of its file, or the pixels of an array or a PIL image) with
    the encoder's fingerprint, so that several encoders may share a cache, also one that is older than they are. A
    file that has changed is another image; a copy of a file is the same image. Vectors of calls with `device=` or
    with `normalize=False` are found by such calls only. Errors are not cached. The encoder pickles with its cache;
    the counters start from 0 again.

    Args:
        encoder: Encoder of the images that are not in the cache.
        cache: A `MemoryCache`, a `DiskCache`, or an `EmbeddingCache` of your own.

    Attributes:
        hits: Number of images whose vectors came from the cache, since the encoder was made.
        misses: Number of images that were encoded, since the encoder was made.

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
        """Component of the encoder that turns an input into an upright RGB image."""
        return self._encoder.loader

    @property
    def dimension(self) -> int:
        """Length of a vector: the number of its float32 values."""
        return self._encoder.dimension

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the wrapped encoder, since vectors from the cache equal its own."""
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
        """Encode one image or many, and look up their vectors in the cache first.

        Args:
            images: One image or an iterable of images, as in `ImageEncoder.encode`.
            batch_size: Number of images in a lookup and a forward pass; None means 128 on CUDA devices, 32 on others.
            device: Name of a device, or a list of names, for this call only; None means the encoder's.
            normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
            on_error: "raise" stops at the first image that can't be read; "nan" gives it a row of NaN, with a warning.
            show_progress: Whether a progress bar is shown; None shows one for long work in interactive sessions.

        Returns:
            float32, C-contiguous: `(d,)` for one image; `(n, d)` for n images, in their order.

        Raises:
            EncoderError: Any error that `ImageEncoder.encode` raises.
        """
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
        """Encode any number of images in bounded memory, and look up their vectors in the cache first.

        Args:
            images: One image or an iterable of images, as in `ImageEncoder.stream`; the iterable may be endless.
            batch_size: Number of images in a batch; None means 128 on CUDA devices, 32 on others.
            device: Name of a device, or a list of names, for this call only; None means the encoder's.
            normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
            show_progress: Whether a progress bar is shown; None shows one for long work in interactive sessions.

        Yields:
            EncodedBatch: `start`, `embeddings` `(m, d)` float32 and `failures`.

        Raises:
            EncoderError: Any error that `ImageEncoder.stream` raises.
        """
        return self._stream(inputs_of(images), batch_size, device, normalize, show_progress)

    def _stream(
        self, inputs: Inputs, batch_size: int | None, device: Devices, normalize: bool, show_progress: bool | None
    ) -> Generator[EncodedBatch]:
        devices = resolve_devices(self._encoder._device if device is None else device, self._encoder.backend.devices)
        size = batch_size_on(devices, batch_size)
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
        """Look up an image in the cache, and load it if it isn't there; `encode` takes the result in its place."""
        image = named(self.loader, self._kind(None, normalize=True), item)
        vector = self._look_up([image.name]).get(image.name)
        return load(self._encoder, replace(image, vector=vector))

    def _renew(self) -> None:
        self._lock = Lock()

    def _kind(self, device: Devices, *, normalize: bool) -> str:
        """Return a text for keys that holds all that decides a vector besides the image.

        Raises:
            ConfigurationError: A device is not available.
        """
        kind = self._fingerprint + ("" if normalize else " not normalized")
        if device is None:
            return kind
        # "cuda" and not "cuda:1": devices of one kind compute the same; "auto" may mean another dtype on another kind.
        names = resolve_devices(device, self._encoder.backend.devices)
        return f"{kind} on {', '.join(sorted({name.partition(':')[0] for name in names}))}"

    def _gate(self, devices: Sequence[str]) -> Gate | None:
        """Return a gate that is closed while a model computes on the CPU, as in `pipeline.run`, or None."""
        return Gate() if set(devices) == {"cpu"} and self._encoder.num_workers <= available_cores() else None

    def _load(
        self, inputs: Inputs, size: int, kind: str, gate: Gate | None, on_its_way: set[Name]
    ) -> Generator[NamedImage]:
        """Yield the images in their order, each with its vector or loaded, on threads that work a batch ahead."""
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
        """Yield images with the vectors that the cache has, with one lookup for each part.

        Args:
            parts: Images in parts, in their order.
            on_its_way: Names of the images before that are not encoded yet; the names of each part are added.
        """
        for part in parts:
            found = self._look_up([image.name for image in part if image.vector is None])
            for image in part:
                yield replace(image, vector=found.get(image.name, image.vector), follows=image.name in on_its_way)
                on_its_way.add(image.name)

    def _encode_part(self, part: Sequence[NamedImage], start: int, encode: _Encode) -> EncodedBatch:
        """Return the vectors of images that follow each other.

        Args:
            part: Images, each with its vector or loaded.
            start: Place of the first image among all inputs.
            encode: Function that encodes the images whose vectors are missing.
        """
        outcomes: dict[Name, Vectors | ImageError] = {
            image.name: image.vector for image in part if image.vector is not None
        }
        # The same image was in a part before this one, whose vectors are in the cache by now.
        outcomes |= self._look_up([image.name for image in part if image.follows and image.vector is None])
        missing: dict[Name, object] = {}
        for image in part:
            if image.name not in outcomes:
                missing.setdefault(image.name, image.item)  # of several with one name, the first is loaded
        with self._lock:
            self.hits += len(part) - len(missing)
            self.misses += len(missing)
        images: list[ImageInput] = list(missing.values())  # type: ignore[arg-type]  # others become ImageErrors
        batches = list(encode(images, len(part)))  # one batch, or none if no vector is missing
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
        # A cache on disk may have been damaged since it was written.
        return {key: vector for key, vector in found.items() if vector.shape == (self.dimension,)}

    def _keep(self, encoded: Mapping[Name, Vectors | ImageError]) -> None:
        pairs = ((name, outcome) for name, outcome in encoded.items() if isinstance(name, bytes))
        if vectors := {key: outcome for key, outcome in pairs if not isinstance(outcome, ImageError)}:
            self._cache.put(vectors)


def _assemble(
    part: Sequence[NamedImage], start: int, outcomes: Mapping[Name, Vectors | ImageError], *, dimension: int
) -> tuple[Vectors, tuple[ImageError, ...]]:
    """Return the vectors `(n, dimension)`, NaN for an image that failed, and the errors with their index."""
    embeddings: Vectors = np.full((len(part), dimension), np.nan, dtype=np.float32)
    failures: list[ImageError] = []
    for row, image in enumerate(part):
        outcome = outcomes[image.name]
        if isinstance(outcome, ImageError):
            failure = outcome.at(start + row)
            if isinstance(image.item, EncodedImage):
                failure.source = image.item.source  # another file with the same content may have raised the error
            failures.append(failure)
        else:
            embeddings[row] = outcome
    return embeddings, tuple(failures)
