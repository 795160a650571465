"""Keys of images in a cache: a SHA-256 of the image's file or pixels, and of all else that decides its vector."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace
from typing import TypeAlias

from clip_image_encoder._prepared import Prepared, Prepares
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ImageError
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.images.encoded import EncodedImage

__all__ = ["Name", "NamedImage", "load", "name_or_place", "named"]

Name: TypeAlias = bytes | int
"""Name of an image: the key of its content; or its place among all inputs, if it can't be read and has no key."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NamedImage(Prepared):
    """An image with its key, before it is encoded.

    Attributes:
        name: Key of the image's content, or its place among all inputs.
        item: Input for the encoder: first the content that the key was made of, later the loaded image.
        seconds: Time that threads have spent on the image, in seconds.
        vector: Vector `(d,)` from the cache; None if the cache has none, or has not been asked yet.
        follows: Whether an image of the same name comes before and is not encoded yet.
    """

    name: Name
    item: object
    seconds: float = 0.0
    vector: Vectors | None = None
    follows: bool = False


def named(loader: ImageLoader, kind: str, image: object) -> NamedImage:
    """Read an image, and return it with its key.

    Args:
        loader: Loader of the encoder.
        kind: Text that holds all that decides a vector besides the image: fingerprint, normalizing, device.
        image: Any input of the loader.

    Raises:
        ImageError: The image can't be read.
    """
    begun = time.perf_counter()
    read = loader.read(image)
    if isinstance(read, EncodedImage):
        name = _key(kind, b"file", read.data)
        return NamedImage(name=name, item=read, seconds=time.perf_counter() - begun)
    upright = loader(read)
    name = _key(kind, b"pixels %d %d" % upright.size, upright.tobytes())
    return NamedImage(name=name, item=upright, seconds=time.perf_counter() - begun)


def name_or_place(loader: ImageLoader, kind: str, placed: tuple[int, object]) -> NamedImage:
    """Return an image with its key, or with its place among all inputs if it can't be read.

    Args:
        loader: Loader of the encoder.
        kind: Text that holds all that decides a vector besides the image: fingerprint, normalizing, device.
        placed: Place of the image among all inputs, and the image; a NamedImage is returned as it is.
    """
    place, image = placed
    if isinstance(image, NamedImage):
        return image
    try:
        return named(loader, kind, image)
    except ImageError:
        # The encoder will read it, too, and raise or return the error in the image's place.
        return NamedImage(name=place, item=image)


def load(encoder: Prepares, image: NamedImage) -> NamedImage:
    """Load an image that has no vector, and will get none from an image before it; return others as they are.

    Args:
        encoder: Encoder that loads the image.
        image: Image with its name.
    """
    is_done = image.vector is not None or image.follows or isinstance(image.item, Prepared)
    if is_done or isinstance(image.name, int):
        return image
    begun = time.perf_counter()
    try:
        loaded = encoder._prepare(image.item)
    except ImageError:
        return image  # the encoder will load it again and report the error in its place
    return replace(image, item=loaded, seconds=image.seconds + time.perf_counter() - begun)


def _key(kind: str, form: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(b"%b\0%b\0" % (kind.encode(), form))
    digest.update(content)
    return digest.digest()
