"""A decoded image, with facts about its values that its mode does not tell."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

__all__ = ["Decoded"]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An image that Pillow has decoded, with facts about its values that the file tells and the mode does not.

    Attributes:
        image: Loaded image in any mode; it is never changed.
        transparent: Value of transparent pixels, on the scale of the decoded pixels; None if no value is transparent.
        mask: Alpha of the image, in mode L, if it is not one of the image's own channels; else None.
        white: Value of white in a mode of more than 8 bits; None derives it from the range of the values.
        white_is_zero: Whether the values count from white to black.
        signed: Whether the 8 bits of mode L are a number from -128 to 127.
    """

    image: Image.Image
    transparent: int | tuple[int, ...] | None = None
    mask: Image.Image | None = None
    white: int | None = None
    white_is_zero: bool = False
    signed: bool = False
