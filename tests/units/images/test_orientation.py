"""EXIF orientation: applied once, for every kind of input."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from clip_image_encoder.images import ImageLoader

FORMATS = ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "AVIF"]
QUADRANTS = {"red": (0, 0), "lime": (1, 0), "blue": (0, 1), "yellow": (1, 1)}
RED, LIME, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)

# Where the first row and the first column of the stored pixels are seen, by the EXIF standard:
# the quadrants top left, top right, bottom left and bottom right of the upright image.
UPRIGHT = {
    1: (RED, LIME, BLUE, YELLOW),
    2: (LIME, RED, YELLOW, BLUE),
    3: (YELLOW, BLUE, LIME, RED),
    4: (BLUE, YELLOW, RED, LIME),
    5: (RED, BLUE, LIME, YELLOW),
    6: (BLUE, RED, YELLOW, LIME),
    7: (YELLOW, LIME, BLUE, RED),
    8: (LIME, YELLOW, RED, BLUE),
}


@pytest.fixture
def quadrants() -> Image.Image:
    """48x32 pixels, a color for each quadrant."""
    image = Image.new("RGB", (48, 32))
    for color, (column, row) in QUADRANTS.items():
        image.paste(color, (column * 24, row * 16, column * 24 + 24, row * 16 + 16))
    return image


def seen(image: Image.Image) -> tuple[tuple[int, ...], ...]:
    width, height = image.size
    points = [(x, y) for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    nearest = np.rint(np.array([image.getpixel(point) for point in points]) / 255).astype(int) * 255
    return tuple(tuple(color) for color in nearest.tolist())


def with_orientation(image: Image.Image, orientation: int, format_name: str, encode: Callable[..., bytes]) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    frames = {"save_all": True, "append_images": [image]} if format_name == "MPO" else {}
    return encode(image, format_name, exif=exif, **frames)


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_file_is_turned_upright(
    loader: ImageLoader, quadrants: Image.Image, encode: Callable[..., bytes], format_name: str, orientation: int
) -> None:
    image = loader(with_orientation(quadrants, orientation, format_name, encode))
    assert image.size == ((48, 32) if orientation < 5 else (32, 48))
    assert seen(image) == UPRIGHT[orientation]


@pytest.mark.parametrize("state", ["lazy", "loaded", "copied", "converted"])
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_pil_image_is_turned_once(
    loader: ImageLoader, quadrants: Image.Image, encode: Callable[..., bytes], format_name: str, state: str
) -> None:
    image: Image.Image = Image.open(io.BytesIO(with_orientation(quadrants, 6, format_name, encode)))
    if state == "loaded":
        image.load()
    if state == "copied":
        image = image.copy()
    if state == "converted":
        image = image.convert("CMYK")
    assert seen(loader(image)) == UPRIGHT[6]


def test_an_image_that_the_caller_has_turned_is_not_turned_again(
    loader: ImageLoader, quadrants: Image.Image, encode: Callable[..., bytes]
) -> None:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(with_orientation(quadrants, 6, "JPEG", encode))))
    assert seen(loader(image)) == UPRIGHT[6]


def test_the_result_is_not_turned_by_a_second_reader(
    loader: ImageLoader, quadrants: Image.Image, encode: Callable[..., bytes]
) -> None:
    image = loader(with_orientation(quadrants, 6, "JPEG", encode))
    assert seen(ImageOps.exif_transpose(image)) == UPRIGHT[6]
    assert seen(loader(image)) == UPRIGHT[6]


def test_an_orientation_in_xmp_counts_too(
    loader: ImageLoader, quadrants: Image.Image, encode: Callable[..., bytes]
) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert seen(loader(encode(quadrants, "JPEG", xmp=xmp))) == UPRIGHT[6]
    assert seen(loader(encode(quadrants, "WEBP", xmp=xmp))) == UPRIGHT[6]


@pytest.mark.parametrize("orientation", [0, 9, 600])
def test_an_orientation_that_does_not_exist_is_upright(
    loader: ImageLoader, quadrants: Image.Image, encode: Callable[..., bytes], orientation: int
) -> None:
    assert seen(loader(with_orientation(quadrants, orientation, "JPEG", encode))) == UPRIGHT[1]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\1\x12"]
)
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_a_damaged_exif_block_counts_as_upright(
    loader: ImageLoader, quadrants: Image.Image, encode: Callable[..., bytes], format_name: str, exif: bytes
) -> None:
    data = encode(quadrants, format_name, exif=exif)
    assert exif[6:] in data
    assert seen(loader(data)) == UPRIGHT[1]
    assert seen(loader(Image.open(io.BytesIO(data)))) == UPRIGHT[1]
