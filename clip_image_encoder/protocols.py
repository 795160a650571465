"""The plug points: what an encoder asks of its components, and nothing more.

Any object that has these members will do; nothing has to be inherited or registered. Members that
say something are read-only properties, so that frozen dataclasses fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from PIL.Image import Image

from clip_image_encoder.arrays import PixelFormat, Pixels, TokenIds, Tokens, Vectors

__all__ = ["Backend", "Output", "Pooling", "Preprocess", "Reads", "TextBackend", "Tokenizer"]

Output: TypeAlias = Literal["pooled", "tokens"]
"""What a backend is asked for: the checkpoint's own pooling, or every token."""

Reads: TypeAlias = Literal["pooled", "tokens", "prefix", "patches"]
"""What a pooling reads: the checkpoint's own pooling, every token, those before the patches, or the patches alone."""


@runtime_checkable
class Preprocess(Protocol):
    """Turns an upright RGB image into pixels at the model's size.

    A plain callable `PIL -> float32 (3, H, W)`, such as open_clip's transform, is accepted in its
    place: a `pixel_format` describes pixels that still have to be normalized.
    """

    @property
    def pixel_format(self) -> PixelFormat:
        """Size of what it returns, and how the backend normalizes it."""
        ...

    def __call__(self, image: Image, /) -> Pixels:
        """Return `(H, W, 3)` uint8 RGB, or `(3, H, W)` float32 that is normalized already."""
        ...


@runtime_checkable
class Backend(Protocol):
    """Runs the vision tower on one device: pixels in, features out.

    An instance may also have a `preprocess`, which an encoder takes where it is given none.
    """

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def image_size(self) -> tuple[int, int] | None:
        """`(height, width)` of the pixels that it takes; None where each batch may have a size of its own."""
        ...

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices it can run on, the best first."""
        ...

    @property
    def outputs(self) -> frozenset[Output]:
        """What it can be asked for."""
        ...

    @property
    def prefix_tokens(self) -> int:
        """Number of class and register tokens before the patches, the class token first; 0 where there is none."""
        ...

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Return `(n, d)` for "pooled" or `(n, prefix_tokens + patches, d)` for "tokens", both float32.

        Tokens have passed the final layer norm and the projection, so that a pooling works in the
        joint space of images and texts. `pixels` is `(n, H, W, 3)` uint8 or `(n, 3, H, W)`
        float32 and must not be changed.
        """
        ...


@runtime_checkable
class Pooling(Protocol):
    """Turns a backend's features into one vector for each image."""

    @property
    def reads(self) -> Reads:
        """What it is given, and so what the backend has to compute."""
        ...

    def __call__(self, features: Tokens | Vectors, /) -> Vectors:
        """Return `(n, d)` float32, not normalized. `features` must not be changed.

        `features` is float32: `(n, d)` for "pooled", `(n, prefix_tokens + patches, d)` for "tokens",
        `(n, prefix_tokens, d)` for "prefix", `(n, patches, d)` for "patches".
        """
        ...


class Tokenizer(Protocol):
    """Turns texts into the numbers that a text tower reads."""

    def __call__(self, texts: Sequence[str], /) -> tuple[TokenIds, TokenIds | None]:
        """Return token ids `(n, length)` and their mask, or None where the tower attends to the padding."""
        ...


@runtime_checkable
class TextBackend(Protocol):
    """Runs the text tower on one device: token ids in, vectors out."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices it can run on, the best first."""
        ...

    @property
    def max_length(self) -> int:
        """Number of tokens that it reads, special ones included."""
        ...

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        """Return `(n, d)` float32, not normalized.

        Args:
            token_ids: `(n, length)`, with `length` up to `max_length`; must not be changed.
            attention_mask: The same shape, 1 for a token and 0 for padding; None where nothing is masked.
            device: One of `devices`.
        """
        ...
