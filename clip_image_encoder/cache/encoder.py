"""An encoder that looks into a cache first."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Generator, Iterable, Mapping, Sequence, Sized
from contextlib import closing
from threading import Lock
from typing import Literal, Protocol

import numpy as np

from clip_image_encoder.arguments import available_cores, check_batch_size, check_on_error
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.encoder import ImageEncoder
from clip_image_encoder.errors import ImageError
from clip_image_encoder.forks import in_forks
from clip_image_encoder.images import ImageInput
from clip_image_encoder.images.encoded import EncodedImage
from clip_image_encoder.images.several import each_image, is_single_image
from clip_image_encoder.pipeline import EncodedBatch, in_order
from clip_image_encoder.progress import progress
from clip_image_encoder.results import gather, until_failure

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
    changed is another picture, wherever it lies. Errors are not kept.

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
        *,
        on_error: Literal["raise", "nan"] = "raise",
    ) -> Vectors:
        """Encode one image or many; as `ImageEncoder.encode`, with vectors of length 1."""
        check_on_error(on_error)
        batches = self.stream(images, batch_size)
        vectors = gather(until_failure(batches) if on_error == "raise" else batches, self.dimension)
        return vectors[0] if is_single_image(images) else vectors

    def stream(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int = 32,
        *,
        show_progress: bool | None = None,
    ) -> Generator[EncodedBatch]:
        """Encode any number of images in bounded memory; as `ImageEncoder.stream`, with vectors of length 1."""
        size = check_batch_size(batch_size)
        inputs = each_image(images)
        total = len(inputs) if isinstance(inputs, Sized) else None

        def run() -> Generator[EncodedBatch]:
            known = in_order(self._identify, inputs, workers=available_cores(), ahead=2 * size)
            with closing(known):
                for start in itertools.count(step=size):
                    part = list(itertools.islice(known, size))
                    if part:
                        yield self._encode_part(part, start)
                    if len(part) < size:
                        return

        return progress(run(), total=total, show=show_progress)

    def _renew(self) -> None:
        self._lock = Lock()

    def _identify(self, image: object) -> tuple[bytes | None, object]:
        """Return a picture's key, and what is to be encoded: the very content that the key was made of."""
        loader = self._encoder.loader
        try:
            read = loader.read(image)
            if isinstance(read, EncodedImage):
                return self._key(b"file", read.data), read
            picture = loader(read)
        except ImageError:
            # The encoder meets it again, and says so in its place.
            return None, image
        return self._key(b"pixels %d %d" % picture.size, picture.tobytes()), picture

    def _key(self, kind: bytes, content: bytes) -> bytes:
        digest = hashlib.sha256(b"%b\0%b\0" % (self._fingerprint.encode(), kind))
        digest.update(content)
        return digest.digest()

    def _encode_part(self, part: Sequence[tuple[bytes | None, object]], start: int) -> EncodedBatch:
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
            (batch,) = self._encoder.stream(images, len(images), show_progress=False)
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
