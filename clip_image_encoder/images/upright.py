"""Conversion of a decoded image to upright RGB: depth, color, alpha, orientation, in this order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from clip_image_encoder.images.decoding import Decoded
from clip_image_encoder.images.depth import FLOAT_WHITES, eight_bits, white_of_floats, white_of_integers
from clip_image_encoder.images.icc_profiles import profile_to_srgb
from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["upright_rgb"]

_DEEP = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})

# A million pixels are converted at a time: the whole image at once would need five times its memory.
_PIXELS_AT_ONCE = 1 << 20

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Orientations that swap width and height, and those whose first row of pixels becomes the last row or column.
_ON_ITS_SIDE = frozenset({5, 6, 7, 8})
_FROM_THE_END = frozenset({3, 4, 6, 7})


def upright_rgb(
    decoded: Decoded, *, background: tuple[int, int, int], color_profile: Literal["ignore", "srgb"], source: str
) -> Image.Image:
    """Return the image upright and in mode RGB; it is the same object if it is so already.

    Args:
        decoded: Image to convert, as `decode`, `decode_opened` or `decode_pil` return it.
        background: RGB color, three integers in 0..255, that shows through where the image is transparent.
        color_profile: Treatment of an embedded ICC profile: "srgb" converts the colors by it, "ignore" does not.
        source: Short description of the image, for error messages.

    Raises:
        ImageError: The values are not in a range that images have, or the ICC profile is damaged.
    """
    image = decoded.image
    with pillow_errors(source=source, what=f"{image.format or 'image'} data"):
        orientation = _orientation(image)
        profile = image.info.get("icc_profile") if color_profile == "srgb" else None
        if image.mode == "RGB" and decoded.transparent is None and decoded.mask is None and not profile:
            return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image
        if image.mode == "P" and decoded.mask is None and image.has_transparency_data:
            image = _on_opaque_palette(image, background)
        to_rgb = _to_rgb(decoded, image, background=background, profile=profile, source=source)
        return _by_strips(image, to_rgb, orientation)


def _by_strips(image: Image.Image, to_rgb: Callable[[Image.Image, int], Image.Image], orientation: int) -> Image.Image:
    """Return an upright image, converted by `to_rgb(strip, top)` in strips of at most a million pixels."""
    width, height = image.size
    method = _UPRIGHT.get(orientation)
    on_its_side, from_the_end = orientation in _ON_ITS_SIDE, orientation in _FROM_THE_END
    rows = max(1, _PIXELS_AT_ONCE // width)
    if rows >= height:
        rgb = to_rgb(image, 0)
        return rgb if method is None else rgb.transpose(method)
    upright = Image.new("RGB", (height, width) if on_its_side else (width, height))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = to_rgb(image.crop((0, top, width, bottom)), top)
        if method is not None:
            strip = strip.transpose(method)
        place = height - bottom if from_the_end else top
        upright.paste(strip, (place, 0) if on_its_side else (0, place))
    return upright


def _to_rgb(
    decoded: Decoded, image: Image.Image, *, background: tuple[int, int, int], profile: bytes | None, source: str
) -> Callable[[Image.Image, int], Image.Image]:
    """Return a function that makes RGB of a strip of the image, given the strip and the number of its first row."""
    white = _white(decoded, source=source)
    convert: Callable[[Image.Image], Image.Image] | None = None

    def to_rgb(strip: Image.Image, top: int) -> Image.Image:
        nonlocal convert
        if strip.mode == "RGBA" and not profile:
            return _over(background, strip)
        color, alpha = _color_and_alpha(strip, decoded, white=white, source=source)
        if decoded.mask is not None:
            alpha = decoded.mask.crop((0, top, strip.width, top + strip.height))
        if profile:
            # Made once: all strips have the same mode.
            if convert is None:
                convert = profile_to_srgb(profile, color.mode, whole=image, source=source)
            rgb = convert(color)
        else:
            rgb = color if color.mode == "RGB" else color.convert("RGB")
        return rgb if alpha is None else _composite(rgb, alpha, background)

    return to_rgb


def _white(decoded: Decoded, *, source: str) -> float:
    """Return the value of white in an image of more than 8 bits."""
    image = decoded.image
    if decoded.white is not None:
        return decoded.white
    if image.mode == "I":
        return white_of_integers(*map(int, _extrema(image)), source=source)
    if image.mode == "F":
        return white_of_floats(*_extrema(image), whites=FLOAT_WHITES, source=source)
    if decoded.signed:
        return white_of_integers(*_signed_extrema(image), source=source)
    return 65535 if image.mode in _DEEP else 255


def _color_and_alpha(
    strip: Image.Image, decoded: Decoded, *, white: float, source: str
) -> tuple[Image.Image, Image.Image | None]:
    """Return a strip 8 bits deep and without alpha, and its alpha in mode L if it has any."""
    if strip.mode in ("LA", "La"):
        grey = strip.convert("LA")
        return grey.getchannel("L"), grey.getchannel("A")
    if strip.mode in ("RGBA", "RGBa", "PA"):
        rgba = strip.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A")
    alpha = None if decoded.transparent is None else _alpha_of(strip, decoded.transparent)
    if strip.mode in _DEEP:
        pixels = eight_bits(np.asarray(strip), white=white, source=source)
        return Image.fromarray(~pixels if decoded.white_is_zero else pixels), alpha
    if "transparency" in strip.info:
        # `alpha` has it now, or it means nothing in this mode; with it, Pillow may fail to convert the strip.
        strip = strip.copy()
        del strip.info["transparency"]
    return strip.convert("L") if strip.mode == "1" else strip, alpha


def _on_opaque_palette(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """Return a palette image with transparent colors replaced by what they look like on the background."""
    entries = image.crop((0, 0, 1, 1)).resize((256, 1))
    entries.frombytes(bytes(range(256)))
    colors = _over(background, entries.convert("RGBA"))
    opaque = image.copy()
    opaque.info.pop("transparency", None)
    opaque.putpalette(colors.tobytes())
    return opaque


def _composite(rgb: Image.Image, alpha: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    rgba = rgb.convert("RGB")
    rgba.putalpha(alpha)
    return _over(background, rgba)


def _over(background: tuple[int, int, int], image: Image.Image) -> Image.Image:
    """Return an image in mode RGBA as it looks on a background of one color."""
    if image.getchannel("A").getextrema() != (255, 255):
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image)
    return image.convert("RGB")


def _alpha_of(strip: Image.Image, key: int | tuple[int, ...]) -> Image.Image:
    pixels: NDArray[Any] = np.asarray(strip.convert("L") if strip.mode == "1" else strip)
    matches = pixels == np.asarray(key)
    opaque = ~matches.all(axis=2) if matches.ndim == 3 else ~matches
    return Image.fromarray(opaque.astype(np.uint8) * np.uint8(255))


def _extrema(image: Image.Image) -> tuple[float, float]:
    lowest, highest = image.getextrema()
    assert isinstance(lowest, (int, float))
    assert isinstance(highest, (int, float))
    return lowest, highest


def _signed_extrema(image: Image.Image) -> tuple[int, int]:
    values = [value - 256 if value > 127 else value for value, count in enumerate(image.histogram()) if count]
    return min(values), max(values)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that is still to be applied, 1..8; 1 is upright (Exif 2.32, tag 0x0112).

    A TIFF has none left, since Pillow turns its pixels while it loads them. Images of other formats keep it; so do
    those of AVIF, whose own rotation Pillow stores as EXIF.
    """
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001
        # Viewers show a photo with broken EXIF without turning it.
        return 1
    return orientation if isinstance(orientation, int) else 1
