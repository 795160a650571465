"""ICC profiles, for those who ask for them."""

from __future__ import annotations

import io

from PIL import Image, ImageCms

from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["to_srgb"]


def to_srgb(image: Image.Image, profile: bytes, *, source: str) -> Image.Image:
    """Return the picture in RGB, its colours converted from its profile to sRGB, perceptually.

    Args:
        image: without alpha.
        profile: the ICC profile that describes its values.
        source: the image in a few words.

    Raises:
        CorruptImageError: the profile is damaged, or describes other channels than the picture has.
    """
    with pillow_errors(source=source, what="ICC profile"):
        described = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Cameras and editors put an RGB profile into grey files, too; palettes and YCbCr stand for RGB.
        if image.mode not in ("CMYK", "LAB") and described.profile.xcolor_space == "RGB ":
            image = image.convert("RGB")
        converted = ImageCms.profileToProfile(
            image,
            described,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.PERCEPTUAL,
            outputMode="RGB",
        )
        assert converted is not None  # as it is only when converting in place
        return converted
