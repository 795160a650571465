"""Inputs that are loaded before an encoder is called with them, on threads that are not its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from clip_image_encoder.arrays import Pixels

__all__ = ["LoadedImage", "Prepared", "Prepares", "are_prepared"]


class Prepared:
    """An input for which no loading thread has anything left to do; the encoder that made it takes it as an image."""


@dataclass(frozen=True, eq=False)
class LoadedImage(Prepared):
    """An image at the model's size.

    Attributes:
        pixels: What the preprocess made of it.
    """

    pixels: Pixels


@runtime_checkable
class Prepares(Protocol):
    """An encoder that loads one input by itself, on threads of whoever calls it."""

    @property
    def _num_workers(self) -> int:
        """Number of threads that it would load on."""
        ...

    def _prepare(self, item: object, /) -> Prepared:
        """Return what the encoder may be called with instead of the input; any thread may call it.

        Raises:
            ImageError: The input can't be loaded.
        """
        ...


def are_prepared(images: object) -> bool:
    """Return whether loading threads would have nothing to do for a list of inputs."""
    return isinstance(images, list) and all(isinstance(image, Prepared) for image in images)
