"""Conversion from an embedded ICC profile to sRGB, for `ImageLoader(color_profile="srgb")`."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageCms

from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["profile_to_srgb"]

_SPACES = {"CMYK": "CMYK", "LAB": "Lab ", "L": "GRAY"}
"""Color space that a profile has to describe, by the image's mode; every other mode needs "RGB "."""


def profile_to_srgb(
    profile: bytes, mode: str, *, whole: Image.Image, source: str
) -> Callable[[Image.Image], Image.Image]:
    """Return a function that converts parts of an image from its profile to sRGB, with the perceptual intent.

    A profile of another color space than the image's is ignored, as viewers do.

    Args:
        profile: ICC profile of the image, as the file contains it.
        mode: Mode of the parts to convert: 8 bits deep, without alpha.
        whole: Image that the parts are cut from.
        source: Short description of the image, for error messages.

    Raises:
        CorruptImageError: The profile is damaged.
    """
    with pillow_errors(source=source, what="ICC profile"):
        described = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = described.profile.xcolor_space
        # Cameras and editors put an RGB profile into grey files, too; palettes and YCbCr stand for RGB.
        if space == "RGB " and mode not in ("CMYK", "LAB"):
            mode = "RGB"
        # Pillow opens 16-bit grey with alpha as RGBA, so that equal channels may mean grey.
        elif space == "GRAY" and mode == "RGB" and _is_grey(whole):
            mode = "L"
        if space != _SPACES.get(mode, "RGB "):
            return lambda part: part.convert("RGB")
        transform = ImageCms.buildTransform(
            described, ImageCms.createProfile("sRGB"), mode, "RGB", renderingIntent=ImageCms.Intent.PERCEPTUAL
        )

    def convert(part: Image.Image) -> Image.Image:
        with pillow_errors(source=source, what="ICC profile"):
            converted = ImageCms.applyTransform(part.convert(mode), transform)
            assert converted is not None  # applyTransform returns None only when it converts in place
            return converted

    return convert


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = (image.getchannel(channel).tobytes() for channel in range(3))
    return red == green == blue
