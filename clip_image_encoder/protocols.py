"""Protocols of the components that an encoder calls: write a class with these members to replace one.

A class need not inherit from its protocol or be registered. All members besides the call are read-only
properties, so that a frozen dataclass fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from PIL.Image import Image

from clip_image_encoder.arrays import PixelFormat, Pixels, TokenIds, Tokens, Vectors

__all__ = ["Backend", "Output", "Pooling", "Preprocess", "Reads", "TextBackend", "Tokenizer"]

Output: TypeAlias = Literal["pooled", "tokens"]
"""Kind of features that a backend computes: vectors of the checkpoint's own pooling, or every token."""

Reads: TypeAlias = Literal["pooled", "tokens", "prefix", "patches"]
"""Input of a pooling: vectors of the checkpoint's own pooling, all tokens, those before the patches, or the patches."""


@runtime_checkable
class Preprocess(Protocol):
    """Turns an upright RGB image into pixels at the model's size.

    An encoder also takes a plain callable from a PIL image to normalized float32 `(3, H, W)`, such as open_clip's
    transform. It needs no `pixel_format`, which describes uint8 pixels that the backend normalizes.
    """

    @property
    def pixel_format(self) -> PixelFormat:
        """Size of the pixels that are returned, and the mean and std that the backend normalizes uint8 pixels by."""
        ...

    def __call__(self, image: Image, /) -> Pixels:
        """Return `(H, W, 3)` uint8 RGB, or `(3, H, W)` float32 that is normalized already."""
        ...


@runtime_checkable
class Backend(Protocol):
    """Runs the vision tower on one device: pixels in, features out.

    An instance may also have an attribute `preprocess`, which `ImageEncoder(backend=...)` uses by default.
    """

    @property
    def dimension(self) -> int:
        """Length of a vector: the number of its float32 values."""
        ...

    @property
    def image_size(self) -> tuple[int, int] | None:
        """Size `(height, width)` of the pixels that the backend takes; None means that it takes any size."""
        ...

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices that the backend can run on, the best first."""
        ...

    @property
    def outputs(self) -> frozenset[Output]:
        """Kinds of features that the backend can compute."""
        ...

    @property
    def prefix_tokens(self) -> int:
        """Number of class and register tokens before the patches, the class token first; 0 if there are none."""
        ...

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Return `(n, d)` for "pooled" or `(n, prefix_tokens + patches, d)` for "tokens", both float32.

        Tokens have passed the final layer norm and the projection, so that a pooling works in the
        joint space of images and texts. `pixels` is `(n, H, W, 3)` uint8 or `(n, 3, H, W)`
        float32; it may be read-only, and must not be changed.
        """
        ...


@runtime_checkable
class Pooling(Protocol):
    """Turns a backend's features into one vector for each image."""

    @property
    def reads(self) -> Reads:
        """Kind of features that the pooling is called with; the backend computes only these."""
        ...

    def __call__(self, features: Tokens | Vectors, /) -> Vectors:
        """Return `(n, d)` float32, not normalized. `features` must not be changed.

        `features` is float32: `(n, d)` for "pooled", `(n, prefix_tokens + patches, d)` for "tokens",
        `(n, prefix_tokens, d)` for "prefix", `(n, patches, d)` for "patches".
        """
        ...


class Tokenizer(Protocol):
    """Turns texts into token ids, the integers that a text tower reads."""

    def __call__(self, texts: Sequence[str], /) -> tuple[TokenIds, TokenIds | None]:
        """Return int64 token ids `(n, length)`, and their mask; None means that the tower attends to the padding.

        The mask is int64 `(n, length)`, 1 for a token and 0 for padding.
        """
        ...


@runtime_checkable
class TextBackend(Protocol):
    """Runs the text tower on one device: token ids in, vectors out."""

    @property
    def dimension(self) -> int:
        """Length of a vector: the number of its float32 values."""
        ...

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices that the backend can run on, the best first."""
        ...

    @property
    def max_length(self) -> int:
        """Largest number of tokens that the backend reads, start and end tokens included."""
        ...

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        """Return `(n, d)` float32, not normalized.

        Args:
            token_ids: Token ids `(n, length)` int64, `length` at most `max_length`; must not be changed.
            attention_mask: Mask `(n, length)` int64, 1 for a token and 0 for padding; None masks nothing.
            device: Name of the device to run on, one of `devices`.
        """
        ...
