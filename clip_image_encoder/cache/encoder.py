"""An encoder that looks into a cache first."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from threading import Lock
from typing import Literal, Protocol

import numpy as np

from clip_image_encoder._arguments import check_batch_size, check_on_error
from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import in_forks
from clip_image_encoder._progress import progress
from clip_image_encoder._threads import in_order, in_parts
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.batches import EncodedBatch, gather, until_failure
from clip_image_encoder.encoder import ImageEncoder
from clip_image_encoder.errors import ImageError
from clip_image_encoder.images import ImageInput, ImageLoader
from clip_image_encoder.images.encoded import EncodedImage
from clip_image_encoder.images.several import Inputs, inputs_of

__all__ = ["CachedEncoder", "EmbeddingCache"]


class EmbeddingCache(Protocol):
    """Where vectors are kept: what `CachedEncoder` asks of it; several threads may ask at a time."""

    def get(self, keys: Sequence[bytes]) -> Mapping[bytes, Vectors]:
        """Return the vectors `(d,)` that are there, of these keys."""
        ...

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Keep vectors `(d,)` float32; others may be dropped for them."""
        ...


class CachedEncoder:
    """An `ImageEncoder` that does not encode the same picture twice.

    A picture is known by its content: the bytes of its file, or the pixels of an array or a PIL image; and
    by the encoder's fingerprint, so that a cache may be shared by encoders and outlive them. A file that is
    changed is another picture, wherever it lies. What a call computes on a device of its own, or without
    normalizing, is found again by such calls only. Errors are not kept. An encoder pickles with its cache, and
    begins to count anew.

    Args:
        encoder: makes the vectors that are not there yet.
        cache: a `MemoryCache`, a `DiskCache`, or an `EmbeddingCache` of yours.

    Attributes:
        hits: pictures that were found, since the encoder was made.
        misses: pictures that passed the model.

    Raises:
        ConfigurationError: a component of the encoder can't be fingerprinted.

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
        batch_size: int = 32,
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
        batch_size: int = 32,
        device: Devices = None,
        *,
        normalize: bool = True,
        show_progress: bool | None = None,
    ) -> Generator[EncodedBatch]:
        """Encode any number of images in bounded memory; as `ImageEncoder.stream`."""
        return self._stream(inputs_of(images), batch_size, device, normalize, show_progress)

    def _stream(
        self, inputs: Inputs, batch_size: int, device: Devices, normalize: bool, show_progress: bool | None
    ) -> Generator[EncodedBatch]:
        size = check_batch_size(batch_size)
        kind = self._fingerprint + ("" if normalize else " not normalized")
        if device is not None:
            # Devices of one kind compute the same, and "auto" is another dtype on another kind.
            names = resolve_devices(device, self._encoder.backend.devices)
            kind += " on " + ", ".join(sorted({name.partition(":")[0] for name in names}))
        workers = 0 if inputs.total == 1 else self._encoder._num_workers
        encode = partial(self._encoder.stream, device=device, normalize=normalize, show_progress=False)

        def run() -> Generator[EncodedBatch]:
            known = in_order(partial(self._identify, kind), inputs.images, workers=workers, ahead=2 * size)
            with closing(known):
                for start, part in zip(itertools.count(step=size), in_parts(known, size), strict=False):
                    yield self._encode_part(part, start, encode)

        return progress(run(), total=inputs.total, show=show_progress)

    def _renew(self) -> None:
        self._lock = Lock()

    def _identify(self, kind: str, image: object) -> tuple[bytes | None, object]:
        """Return a picture's key, and what is to be encoded: the very content that the key was made of.

        Args:
            kind: what decides a vector besides the picture.
            image: one input.
        """
        loader = self._encoder.loader
        try:
            read = loader.read(image)
            if isinstance(read, EncodedImage):
                return _key(kind, b"file", read.data), read
            picture = loader(read)
        except ImageError:
            # The encoder meets it again, and says so in its place.
            return None, image
        return _key(kind, b"pixels %d %d" % picture.size, picture.tobytes()), picture

    def _encode_part(
        self,
        part: Sequence[tuple[bytes | None, object]],
        start: int,
        encode: Callable[[list[ImageInput], int], Generator[EncodedBatch]],
    ) -> EncodedBatch:
        # Pictures by their key; those without, by their place.
        names = [place if key is None else key for place, (key, _) in enumerate(part)]
        found = self._cache.get([key for key, _ in part if key is not None])
        # A cache outlives programs, and may come back damaged.
        vectors: dict[bytes | int, Vectors] = {
            key: vector for key, vector in found.items() if vector.shape == (self.dimension,)
        }
        todo: dict[bytes | int, object] = {}
        for name, (_, item) in zip(names, part, strict=True):
            if name not in vectors:
                todo.setdefault(name, item)
        with self._lock:
            self.hits += len(part) - len(todo)
            self.misses += len(todo)
        seconds, errors = (0.0, 0.0), dict[bytes | int, ImageError]()
        if todo:
            images: list[ImageInput] = list(todo.values())  # type: ignore[arg-type]  # what is none gets an ImageError
            (batch,) = encode(images, len(images))
            seconds = (batch.loading_seconds, batch.encoding_seconds)
            failed = {failure.index: failure for failure in batch.failures}
            for place, name in enumerate(todo):
                if place in failed:
                    errors[name] = failed[place]
                else:
                    vectors[name] = batch.embeddings[place]
            self._cache.put({name: vectors[name] for name in todo if isinstance(name, bytes) and name in vectors})
        nothing = np.full(self.dimension, np.nan, np.float32)
        return EncodedBatch(
            start=start,
            embeddings=np.stack([vectors.get(name, nothing) for name in names]),
            failures=tuple(
                _failure(errors[name], part[place][1], start + place)
                for place, name in enumerate(names)
                if name in errors
            ),
            loading_seconds=seconds[0],
            encoding_seconds=seconds[1],
        )


def _failure(error: ImageError, item: object, index: int) -> ImageError:
    placed = error.at(index)
    if isinstance(item, EncodedImage):
        placed.source = item.source  # the error may be that of another file with the same content
    return placed


def _key(kind: str, form: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(b"%b\0%b\0" % (kind.encode(), form))
    digest.update(content)
    return digest.digest()
