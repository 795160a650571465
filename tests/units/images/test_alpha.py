"""What is transparent shows the background, in whatever way a file says it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_image_encoder.images import ImageLoader
from tests.units.images.png_files import SIGNATURE, chunk

CLEAR, HALF, SOLID = (10, 20, 30, 0), (200, 100, 50, 128), (1, 2, 3, 255)
BACKGROUND = (255, 0, 128)


def png(rows: list[bytes], *, width: int, depth: int, color_type: int, transparent: bytes) -> bytes:
    """Return a PNG with a tRNS chunk, which Pillow can't write at every depth."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", pixels), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(*parts) for parts in chunks)


def row_of(image: Image.Image) -> list[tuple[int, ...]]:
    return [tuple(pixel) for pixel in np.asarray(image)[0].tolist()]


def rgba() -> Image.Image:
    image = Image.new("RGBA", (3, 1))
    for x, pixel in enumerate((CLEAR, HALF, SOLID)):
        image.putpixel((x, 0), pixel)
    return image


def arriving(kind: str, encode: Callable[..., bytes]) -> Any:
    image, array = rgba(), np.asarray(rgba())
    match kind:
        case "PIL":
            return image
        case "RGBa":
            return image.convert("RGBa")
        case "array":
            return array
        case "CHW array":
            return np.tile(array, (5, 2, 1)).transpose(2, 0, 1)
        case "float array":
            return np.repeat(array, 5, axis=0) / 255
        case "WEBP":
            return encode(image, "WEBP", lossless=True, exact=True)
        case _:
            return encode(image, kind)


def composited(pixel: tuple[int, ...], background: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    alpha = pixel[3] / 255
    return np.array(pixel[:3]) * alpha + np.array(background) * (1 - alpha)


@pytest.mark.parametrize("background", [(255, 255, 255), BACKGROUND, (0, 0, 0)])
@pytest.mark.parametrize("arrives", ["PIL", "PNG", "WEBP", "TIFF", "array", "CHW array", "float array", "RGBa"])
def test_rgba_is_composited_on_the_background(
    encode: Callable[..., bytes], arrives: str, background: tuple[int, int, int]
) -> None:
    item = arriving(arrives, encode)
    loader = ImageLoader(background=background, channels="last" if arrives == "array" else None)
    for pixel, source in zip(row_of(loader(item)), (CLEAR, HALF, SOLID) * 2, strict=False):
        assert np.abs(np.array(pixel) - composited(source, background)).max() <= (2 if arrives == "RGBa" else 1)


@settings(max_examples=50, deadline=None)
@given(
    pixel=st.tuples(*[st.integers(0, 255)] * 4),
    background=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_any_color_is_mixed_with_any_background_by_its_alpha(
    pixel: tuple[int, ...], background: tuple[int, int, int]
) -> None:
    (mixed,) = row_of(ImageLoader(background=background)(Image.new("RGBA", (1, 1), pixel)))
    assert np.abs(np.array(mixed) - composited(pixel, background)).max() <= 1
    if pixel[3] in (0, 255):
        assert mixed == (background if pixel[3] == 0 else pixel[:3])


@pytest.mark.parametrize("mode", ["LA", "La"])
def test_grey_with_alpha_is_composited(mode: str) -> None:
    image = Image.new("LA", (2, 1), (77, 0))
    image.putpixel((1, 0), (77, 255))
    assert row_of(ImageLoader(background=BACKGROUND)(image.convert(mode))) == [BACKGROUND, (77, 77, 77)]


def test_a_palette_with_an_alpha_channel_is_composited() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7])
    image = image.convert("PA")
    image.putalpha(Image.frombytes("L", (2, 1), bytes([0, 255])))
    assert image.mode == "PA"
    assert row_of(ImageLoader(background=BACKGROUND)(image)) == [BACKGROUND, (9, 8, 7)]


@pytest.mark.parametrize(
    ("arrives", "transparency"),
    [
        ("PIL", 1),
        ("PNG", 1),
        ("GIF", 1),
        *((kind, bytes([255, 0, *more])) for kind in ("PIL", "PNG") for more in ((), (255,))),
    ],
)
def test_a_palette_with_transparency_is_composited(
    encode: Callable[..., bytes], arrives: str, transparency: int | bytes
) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 6, 5, 4, 3, 2, 1])
    image.putpixel((1, 0), 1)
    image.info["transparency"] = transparency
    item = image if arrives == "PIL" else encode(image, arrives, transparency=transparency)
    assert row_of(ImageLoader(background=BACKGROUND)(item)) == [(9, 8, 7), BACKGROUND]


def test_half_transparent_palette_colors_are_mixed() -> None:
    image = Image.new("P", (1, 1))
    image.putpalette([200, 100, 50])
    image.info["transparency"] = bytes([128])
    (pixel,) = row_of(ImageLoader(background=BACKGROUND)(image))
    assert np.abs(np.array(pixel) - composited(HALF, BACKGROUND)).max() <= 1


def test_a_palette_of_colors_with_alpha_is_composited() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 255, 6, 5, 4, 0], "RGBA")
    image.putpixel((1, 0), 1)
    assert row_of(ImageLoader(background=BACKGROUND)(image)) == [(9, 8, 7), BACKGROUND]


@pytest.mark.parametrize(
    ("depth", "row", "transparent"),
    [
        (1, bytes([0b01000000]), 1),
        (2, bytes([0b00100000]), 2),
        (4, bytes([0x03]), 3),
        (8, bytes([0, 7]), 7),
        (16, bytes([0, 0, 1, 2]), 0x0102),
    ],
)
@pytest.mark.parametrize("arrives", ["bytes", "lazy PIL"])
def test_a_transparent_grey_is_found_at_every_depth(depth: int, row: bytes, transparent: int, arrives: str) -> None:
    data = png([row], width=2, depth=depth, color_type=0, transparent=struct.pack(">H", transparent))
    item = data if arrives == "bytes" else Image.open(io.BytesIO(data))
    assert row_of(ImageLoader(background=BACKGROUND)(item)) == [(0, 0, 0), BACKGROUND]


@pytest.mark.parametrize(
    ("depth", "row", "transparent"),
    [(8, bytes([0, 0, 0, 1, 2, 3]), (1, 2, 3)), (16, bytes(6) + bytes([1, 9] * 3), (0x0109, 0x0109, 0x0109))],
)
def test_a_transparent_color_is_found_at_every_depth(depth: int, row: bytes, transparent: tuple[int, ...]) -> None:
    data = png([row], width=2, depth=depth, color_type=2, transparent=struct.pack(">3H", *transparent))
    assert row_of(ImageLoader(background=BACKGROUND)(data)) == [(0, 0, 0), BACKGROUND]


@pytest.mark.parametrize(("mode", "leftover"), [("CMYK", 3), ("RGB", 3), ("L", b"\0"), ("HSV", (1, 2, 3))])
def test_a_transparency_that_means_nothing_in_the_mode_is_left_out(
    loader: ImageLoader, mode: str, leftover: object
) -> None:
    image = Image.new(mode, (1, 1), 3)
    expected = image.convert("RGB").tobytes()
    image.info["transparency"] = leftover
    assert loader(image).tobytes() == expected
