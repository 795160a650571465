"""An encoder that looks into a cache first."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from threading import Lock
from typing import Literal, Protocol, TypeAlias

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

_Name: TypeAlias = bytes | int
"""What an image is known by: the key of its content; or its place among all, if it can't be read and has no key."""

_Encode: TypeAlias = Callable[[list[ImageInput], int], Generator[EncodedBatch]]
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
        loader = self._encoder.loader
        workers = 0 if inputs.total == 1 else self._encoder.num_workers
        encode = partial(self._encoder.stream, device=device, normalize=normalize, show_progress=False)

        def run() -> Generator[EncodedBatch]:
            named = in_order(partial(_name, loader, kind), enumerate(inputs.images), workers=workers, ahead=2 * size)
            with closing(named):
                for start, part in zip(itertools.count(step=size), in_parts(named, size), strict=False):
                    yield self._encode_part(part, start, encode)

        return progress(run(), total=inputs.total, show=show_progress)

    def _renew(self) -> None:
        self._lock = Lock()

    def _encode_part(self, part: Sequence[tuple[_Name, object]], start: int, encode: _Encode) -> EncodedBatch:
        """Return the vectors of images that follow each other.

        Args:
            part: What each image is known by, and what is encoded if its vector is not in the cache.
            start: Place of the first of them among all.
            encode: Makes the vectors that are missing.
        """
        found = self._look_up([name for name, _ in part])
        missing = {name: item for name, item in part if name not in found}
        with self._lock:
            self.hits += len(part) - len(missing)
            self.misses += len(missing)
        images: list[ImageInput] = list(missing.values())  # type: ignore[arg-type]  # what is none gets an ImageError
        batches = list(encode(images, len(part)))  # one of all that are missing, or none
        encoded = dict(zip(missing, (outcome for batch in batches for _, outcome in batch.outcomes()), strict=True))
        self._keep(encoded)
        embeddings, failures = _assemble(part, start, found | encoded, dimension=self.dimension)
        return EncodedBatch(
            start=start,
            embeddings=embeddings,
            failures=failures,
            loading_seconds=sum(batch.loading_seconds for batch in batches),
            encoding_seconds=sum(batch.encoding_seconds for batch in batches),
        )

    def _look_up(self, names: Sequence[_Name]) -> dict[_Name, Vectors | ImageError]:
        found = self._cache.get([name for name in names if isinstance(name, bytes)])
        # A cache outlives programs, and may come back damaged.
        return {key: vector for key, vector in found.items() if vector.shape == (self.dimension,)}

    def _keep(self, encoded: Mapping[_Name, Vectors | ImageError]) -> None:
        pairs = ((name, outcome) for name, outcome in encoded.items() if isinstance(name, bytes))
        if vectors := {key: outcome for key, outcome in pairs if not isinstance(outcome, ImageError)}:
            self._cache.put(vectors)


def _assemble(
    part: Sequence[tuple[_Name, object]], start: int, outcomes: Mapping[_Name, Vectors | ImageError], *, dimension: int
) -> tuple[Vectors, tuple[ImageError, ...]]:
    """Return the row of each image, `(n, dimension)` and NaN where it failed; and the errors, each in its place."""
    embeddings: Vectors = np.full((len(part), dimension), np.nan, dtype=np.float32)
    failures: list[ImageError] = []
    for row, (name, item) in enumerate(part):
        outcome = outcomes[name]
        if isinstance(outcome, ImageError):
            failure = outcome.at(start + row)
            if isinstance(item, EncodedImage):
                failure.source = item.source  # the error may be that of another file with the same content
            failures.append(failure)
        else:
            embeddings[row] = outcome
    return embeddings, tuple(failures)


def _name(loader: ImageLoader, kind: str, placed: tuple[int, object]) -> tuple[_Name, object]:
    """Return what an image is known by, and what is to be encoded: the very content that its key was made of.

    Args:
        loader: The encoder's.
        kind: What decides a vector besides the image.
        placed: Place of the image among all, and the image.
    """
    place, image = placed
    try:
        read = loader.read(image)
        if isinstance(read, EncodedImage):
            return _key(kind, b"file", read.data), read
        upright = loader(read)
    except ImageError:
        # The encoder meets it again, and says so in its place.
        return place, image
    return _key(kind, b"pixels %d %d" % upright.size, upright.tobytes()), upright


def _key(kind: str, form: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(b"%b\0%b\0" % (kind.encode(), form))
    digest.update(content)
    return digest.digest()
