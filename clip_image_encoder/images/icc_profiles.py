"""ICC profiles, for those who ask for them."""

from __future__ import annotations

import io
from collections.abc import Callable

from PIL import Image, ImageCms

from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["profile_to_srgb"]

_SPACES = {"CMYK": "CMYK", "LAB": "Lab ", "L": "GRAY"}
"""The color space that a profile has to describe, by Pillow's mode; RGB for all others."""


def profile_to_srgb(
    profile: bytes, mode: str, *, whole: Image.Image, source: str
) -> Callable[[Image.Image], Image.Image]:
    """Return what converts images from their profile to sRGB, perceptually.

    A profile of another color space than the image's is ignored, as viewers do.

    Args:
        profile: the ICC profile that describes the values.
        mode: of what will be converted: 8 bits deep, without alpha.
        whole: the image that it is part of.
        source: the image in a few words.

    Raises:
        CorruptImageError: the profile is damaged.
    """
    with pillow_errors(source=source, what="ICC profile"):
        described = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = described.profile.xcolor_space
        # Cameras and editors put an RGB profile into grey files, too; palettes and YCbCr stand for RGB.
        if space == "RGB " and mode not in ("CMYK", "LAB"):
            mode = "RGB"
        # Pillow reads 16-bit grey with alpha as RGBA.
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
            assert converted is not None  # as it is only when converting in place
            return converted

    return convert


def _is_grey(image: Image.Image) -> bool:
    red, green, blue = (image.getchannel(channel).tobytes() for channel in range(3))
    return red == green == blue
