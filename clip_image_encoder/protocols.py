"""The plug points: what a preprocess, a backend and a pooling must be.

Write a class with these members and hand an instance to `ImageEncoder`; nothing is inherited and
nothing is registered. `clip_image_encoder.testing` checks that a component keeps its protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from PIL.Image import Image

from clip_image_encoder.arrays import Pixels, Tokens, Vectors

__all__ = ["Backend", "Output", "Pooling", "Preprocess"]

Output: TypeAlias = Literal["pooled", "tokens"]
"""What a backend is asked for: the checkpoint's own pooling, or every token."""


@runtime_checkable
class Preprocess(Protocol):
    """Turns an upright RGB picture into pixels at the model's size.

    A plain callable `PIL -> float32 (3, H, W)`, such as open_clip's transform, is accepted in its
    place: `size`, `mean` and `std` describe pixels that still have to be normalised.
    """

    @property
    def size(self) -> tuple[int, int]:
        """`(height, width)` of what it returns."""
        ...

    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of each colour channel, for pixels in 0..1; the backend subtracts it."""
        ...

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of each colour channel, for pixels in 0..1; the backend divides by it."""
        ...

    def __call__(self, image: Image, /) -> Pixels:
        """Return `(H, W, 3)` uint8 RGB, or `(3, H, W)` float32 that is normalised already."""
        ...


@runtime_checkable
class Backend(Protocol):
    """Runs the vision tower on one device: pixels in, features out."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def image_size(self) -> tuple[int, int]:
        """`(height, width)` that it takes."""
        ...

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices it can run on, the best first."""
        ...

    @property
    def outputs(self) -> frozenset[Output]:
        """What it can be asked for."""
        ...

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Return `(n, d)` for "pooled" or `(n, 1 + patches, d)` for "tokens", both float32.

        Tokens have passed the final layer norm and the projection, so that a pooling works in the
        joint space of pictures and texts. `pixels` is `(n, H, W, 3)` uint8 or `(n, 3, H, W)`
        float32 and must not be changed.
        """
        ...


@runtime_checkable
class Pooling(Protocol):
    """Turns a backend's features into one vector a picture."""

    @property
    def reads(self) -> Output:
        """What the backend has to compute for it."""
        ...

    def __call__(self, features: Tokens | Vectors, /) -> Vectors:
        """Return `(n, d)` float32, not normalised. `features` must not be changed."""
        ...
