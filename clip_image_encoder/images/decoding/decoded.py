"""A decoded image, and what its mode does not say of it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

__all__ = ["Decoded"]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An image that Pillow has decoded, with what is known of its values from elsewhere.

    Attributes:
        image: loaded, in any mode; never changed.
        transparent: the one value that is transparent, on the scale of the pixels; None if there is none.
        mask: alpha of the image, in mode L, where it is not among the image's own channels.
        white: the value of white in the modes deeper than 8 bits; None takes what the values say.
        white_is_zero: whether the values count from white to black.
        signed: whether the 8 bits of mode L are a number from -128 to 127.
    """

    image: Image.Image
    transparent: int | tuple[int, ...] | None = None
    mask: Image.Image | None = None
    white: int | None = None
    white_is_zero: bool = False
    signed: bool = False
