"""Inputs that were loaded before an encoder is called with them, on threads of its caller."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from clip_image_encoder.arrays import Pixels

__all__ = ["LoadedImage", "Prepared", "Prepares", "are_prepared"]


class Prepared:
    """Base class of inputs that are loaded already; the encoder that made one takes it in the place of an image."""


@dataclass(frozen=True, eq=False)
class LoadedImage(Prepared):
    """An image that is loaded and preprocessed.

    Attributes:
        pixels: Pixels at the model's size, `(H, W, 3)` uint8 or `(3, H, W)` float32.
    """

    pixels: Pixels


@runtime_checkable
class Prepares(Protocol):
    """An encoder that can load a single input on its caller's thread."""

    @property
    def _num_workers(self) -> int:
        """Number of threads that the encoder loads on by itself."""
        ...

    def _prepare(self, item: object, /) -> Prepared:
        """Load an input, and return an object that the encoder takes in its place; any thread may call this.

        Args:
            item: Any input of the encoder.

        Raises:
            ImageError: The input can't be loaded.
        """
        ...


def are_prepared(images: object) -> bool:
    """Return whether the inputs are a list in which all are loaded already."""
    return isinstance(images, list) and all(isinstance(image, Prepared) for image in images)
