"""Every mode becomes the RGB that Pillow means; profiles only on request."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageCms

from clip_image_encoder.errors import CorruptImageError
from clip_image_encoder.images import ImageLoader

SRGB = ImageLoader(color_profile="srgb")


@pytest.fixture
def swapped_profile() -> bytes:
    """A profile whose red, green and blue are sRGB's blue, red and green."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * int.from_bytes(profile[128:132], "big"), 12)
    }
    places = [bytes(profile[tags[name] + 4 : tags[name] + 12]) for name in (b"bXYZ", b"rXYZ", b"gXYZ")]
    for name, place in zip((b"rXYZ", b"gXYZ", b"bXYZ"), places, strict=True):
        profile[tags[name] + 4 : tags[name] + 12] = place
    return bytes(profile)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"])
def test_a_mode_without_alpha_is_what_pillow_converts_it_to(
    loader: ImageLoader, picture: Image.Image, mode: str
) -> None:
    image = picture.convert(mode) if mode != "RGBX" else Image.frombytes("RGBX", (2, 1), bytes(range(8)))
    assert loader(image).tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("mode", "format_name"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "JPEG"), ("1", "PNG"), ("P", "PNG"), ("P", "GIF")],
)
def test_a_file_without_alpha_is_what_pillow_converts_it_to(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes], mode: str, format_name: str
) -> None:
    data = encode(picture.convert(mode), format_name)
    with Image.open(io.BytesIO(data)) as opened:
        assert loader(data).tobytes() == opened.convert("RGB").tobytes()


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_an_adobe_cmyk_file_is_not_a_negative(
    loader: ImageLoader, encode: Callable[..., bytes], format_name: str
) -> None:
    image = Image.new("CMYK", (16, 16), (0, 200, 200, 0))
    data = encode(image, format_name)
    assert format_name == "TIFF" or b"Adobe" in data
    red, green, blue = np.asarray(loader(data)).mean(axis=(0, 1))
    assert red > 240
    assert max(green, blue) < 70


def test_a_lab_tiff_shows_its_colors(loader: ImageLoader, encode: Callable[..., bytes]) -> None:
    data = encode(Image.new("RGB", (16, 16), (200, 60, 30)).convert("LAB"), "TIFF")
    np.testing.assert_allclose(np.asarray(loader(data))[8, 8], (200, 60, 30), atol=4)


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP", "TIFF", "PIL"])
def test_a_profile_is_ignored_unless_asked_for(
    loader: ImageLoader, encode: Callable[..., bytes], swapped_profile: bytes, format_name: str
) -> None:
    image = Image.new("RGB", (16, 16), (250, 10, 10))
    image.info["icc_profile"] = swapped_profile
    item = image if format_name == "PIL" else encode(image, format_name, icc_profile=swapped_profile)
    np.testing.assert_allclose(np.asarray(loader(item))[8, 8], (250, 10, 10), atol=4)
    np.testing.assert_allclose(np.asarray(SRGB(item))[8, 8], (10, 10, 250), atol=6)


def test_an_srgb_profile_and_none_change_nothing(picture: Image.Image) -> None:
    assert SRGB(picture).tobytes() == picture.tobytes()
    tagged = picture.copy()
    tagged.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_allclose(np.asarray(SRGB(tagged)).astype(int), np.asarray(picture), atol=1)


def test_a_grey_image_with_an_rgb_profile_is_converted_too(swapped_profile: bytes) -> None:
    image = Image.new("L", (2, 2), 100)
    image.info["icc_profile"] = swapped_profile
    np.testing.assert_allclose(np.asarray(SRGB(image)), 100, atol=2)


def test_what_is_transparent_shows_the_background_in_srgb(swapped_profile: bytes) -> None:
    image = Image.new("RGBA", (2, 1), (250, 10, 10, 255))
    image.putpixel((1, 0), (250, 10, 10, 0))
    image.info["icc_profile"] = swapped_profile
    pixels = np.asarray(ImageLoader(color_profile="srgb", background=(0, 255, 0))(image))[0]
    np.testing.assert_allclose(pixels, [(10, 10, 250), (0, 255, 0)], atol=6)


@pytest.mark.parametrize("profile", [b"not a profile", bytes(200), "cut short"])
def test_a_damaged_profile_matters_only_when_asked_for(
    loader: ImageLoader, picture: Image.Image, swapped_profile: bytes, profile: bytes | str
) -> None:
    image = picture.copy()
    image.info["icc_profile"] = swapped_profile[:150] if isinstance(profile, str) else profile
    assert loader(image).tobytes() == picture.tobytes()
    with pytest.raises(CorruptImageError, match="ICC profile"):
        SRGB(image)


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_a_profile_for_other_channels_is_ignored_as_viewers_do(swapped_profile: bytes, mode: str) -> None:
    image = Image.new(mode, (2, 2), (10, 200, 90, 30)[: len(mode)])
    expected = image.convert("RGB").tobytes()
    image.info["icc_profile"] = swapped_profile
    assert SRGB(image).tobytes() == expected


def grey_profile(gamma: float) -> bytes:
    """Return an ICC profile of greys, with white of D50."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, len(white), b"kTRC", 156 + len(white), len(curve))
    size = 128 + len(tags) + len(white) + len(curve)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x02100000, b"mntr", b"GRAY", b"XYZ ", b"acsp")
    return head.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061).ljust(60, b"\0") + tags + white + curve


def test_a_grey_profile_holds_for_16_bit_grey_with_alpha_as_for_8_bits(encode: Callable[..., bytes]) -> None:
    profile = grey_profile(1.0)
    grey = Image.linear_gradient("L")
    opaque = Image.new("L", grey.size, 255)
    eight = encode(Image.merge("LA", (grey, opaque)), icc_profile=profile)
    # So Pillow reads 16 bits of grey and alpha.
    sixteen = encode(Image.merge("RGBA", (grey, grey, grey, opaque)), icc_profile=profile)
    converted = SRGB(eight).tobytes()
    assert converted != grey.convert("RGB").tobytes()
    assert SRGB(sixteen).tobytes() == converted


def test_a_grey_profile_of_a_color_image_is_ignored(encode: Callable[..., bytes]) -> None:
    image = Image.merge("RGB", [Image.linear_gradient("L"), *[Image.radial_gradient("L")] * 2])
    assert SRGB(encode(image, icc_profile=grey_profile(1.0))).tobytes() == image.tobytes()
