"""What Pillow holds becomes an upright RGB picture: depth, colour, alpha, orientation, in this order."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile

from clip_image_encoder.images.colour import to_srgb
from clip_image_encoder.images.depth import FLOAT_WHITES, eight_bits
from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["upright_rgb"]

_DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright_rgb(
    image: Image.Image, *, background: tuple[int, int, int], colour_profile: Literal["ignore", "srgb"], source: str
) -> Image.Image:
    """Return the picture upright, in mode RGB: the image itself where it is so already, else a new one.

    Args:
        image: in any mode, loaded or not; loading it is all that happens to it.
        background: RGB colour, 0..255, that shows through where the picture is transparent.
        colour_profile: "srgb" converts the colours by the embedded ICC profile.
        source: the image in a few words.

    Raises:
        ImageError: the picture can't be decoded, or its values are not those of a picture.
    """
    with pillow_errors(source=source, what=f"{image.format or 'image'} data"):
        key = _transparent_value(image)
        image.load()
        colour, alpha = _colour_and_alpha(image, key, source=source)
        profile = image.info.get("icc_profile") if colour_profile == "srgb" else None
        if profile:
            rgb = to_srgb(colour, profile, source=source)
        else:  # from RGB to RGB it would be copied
            rgb = colour if colour.mode == "RGB" else colour.convert("RGB")
        if alpha is not None:
            rgb = _composite(rgb, alpha, background)
        method = _UPRIGHT.get(_orientation(image))
        if method is not None:
            rgb = rgb.transpose(method)
    return rgb


def _colour_and_alpha(
    image: Image.Image, key: int | tuple[int, ...] | None, *, source: str
) -> tuple[Image.Image, Image.Image | None]:
    """Return the picture 8 bits deep and without alpha, and its alpha in mode L if it has any."""
    if image.mode in ("LA", "La"):
        grey = image.convert("LA")
        return grey.getchannel("L"), grey.getchannel("A")
    if image.mode in ("RGBA", "RGBa", "PA") or (image.mode == "P" and image.has_transparency_data):
        # Of a copy: Pillow writes the transparency into the palette of the image that it converts.
        rgba = image.copy().convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    alpha = None if key is None else _alpha_of(image, key)
    if image.mode in _DEEP:
        return Image.fromarray(eight_bits(np.asarray(image), source=source, whites=FLOAT_WHITES)), alpha
    if "transparency" in image.info:
        # It is in `alpha` now, or means nothing in this mode; Pillow would carry it along, and may fail.
        image = image.copy()
        del image.info["transparency"]
    return image.convert("L") if image.mode == "1" else image, alpha


def _composite(rgb: Image.Image, alpha: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    rgba = rgb.convert("RGB")
    rgba.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (*background, 255)), rgba).convert("RGB")


def _transparent_value(image: Image.Image) -> int | tuple[int, ...] | None:
    """Return the one value that is transparent, on the scale of the decoded pixels.

    Must come before loading: only until then is it known how the file counts its values.
    """
    value = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(value, tuple) and len(value) == 3:
        # Pillow cuts 16-bit colours to their upper 8 bits, but not this value.
        sixteen = _raw_mode(image) == "RGB;16B" or max(value) > 255
        return tuple(channel >> 8 for channel in value) if sixteen else value
    if image.mode == "1" and isinstance(value, int):
        return 255 if value else 0  # Pillow 11 says 1, Pillow 12 says 255
    if image.mode in ("L", "I", "I;16") and isinstance(value, int):
        # Pillow spreads 2 and 4-bit greys over 0..255, but not this value.
        return value * {"L;2": 85, "L;4": 17}.get(_raw_mode(image), 1)
    return None  # palettes keep theirs for themselves; elsewhere it is a leftover of some conversion


def _raw_mode(image: Image.Image) -> str:
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return tiles[0].args if tiles and isinstance(tiles[0].args, str) else ""


def _alpha_of(image: Image.Image, key: int | tuple[int, ...]) -> Image.Image:
    pixels: NDArray[Any] = np.asarray(image.convert("L") if image.mode == "1" else image)
    matches = pixels == np.asarray(key)
    opaque = ~matches.all(axis=2) if matches.ndim == 3 else ~matches
    return Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that is still to be applied; 1 is upright.

    Of a TIFF there is none left: Pillow turns its pixels while it loads them. The other formats
    keep it, AVIF too, whose own rotation Pillow hands on as EXIF.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001
        # A camera's or an editor's broken EXIF does not make the photo wrong; and every viewer
        # shows such a photo the way its pixels lie.
        return 1
    return orientation if isinstance(orientation, int) else 1
