"""What an image is known by in a cache: the content of its file or its pixels, and all else that decides its vector."""

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
"""What an image is known by: the key of its content; or its place among all, if it can't be read and has no key."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NamedImage(Prepared):
    """An image on its way to its vector.

    Attributes:
        name: What it is known by.
        item: What is encoded if there is no vector: the very content that its key was made of, then what is loaded.
        seconds: Time that threads have spent on it.
        vector: What the cache has; None where it has none, or was not asked yet.
        follows: Whether an image of the same name is on its way before it.
    """

    name: Name
    item: object
    seconds: float = 0.0
    vector: Vectors | None = None
    follows: bool = False


def named(loader: ImageLoader, kind: str, image: object) -> NamedImage:
    """Return an image with its key.

    Args:
        loader: The encoder's.
        kind: What decides a vector besides the image.
        image: Any input.

    Raises:
        ImageError: It can't be read.
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
    """Return an image with its key, or with its place among all if it can't be read.

    Args:
        loader: The encoder's.
        kind: What decides a vector besides the image.
        placed: Place of the image among all, and the image; one that has its key already keeps it.
    """
    place, image = placed
    if isinstance(image, NamedImage):
        return image
    try:
        return named(loader, kind, image)
    except ImageError:
        # The encoder meets it again, and says so in its place.
        return NamedImage(name=place, item=image)


def load(encoder: Prepares, image: NamedImage) -> NamedImage:
    """Return an image with what the model takes, unless there is a vector of it, or will be."""
    is_done = image.vector is not None or image.follows or isinstance(image.item, Prepared)
    if is_done or isinstance(image.name, int):
        return image
    begun = time.perf_counter()
    try:
        loaded = encoder._prepare(image.item)
    except ImageError:
        return image  # the encoder meets it again, too
    return replace(image, item=loaded, seconds=image.seconds + time.perf_counter() - begun)


def _key(kind: str, form: bytes, content: bytes) -> bytes:
    digest = hashlib.sha256(b"%b\0%b\0" % (kind.encode(), form))
    digest.update(content)
    return digest.digest()
