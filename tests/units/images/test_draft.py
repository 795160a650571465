"""Big JPEGs are decoded smaller, and stay the same image."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder.images import ImageLoader

MODEL = (64, 64)
EXACT = ImageLoader(exact=True)


@pytest.fixture(scope="module")
def photo(photo_paths: list[Path]) -> Image.Image:
    """A photo enlarged to 1600x1200, with a little of a camera's noise."""
    with Image.open(photo_paths[0]) as opened:
        enlarged = np.asarray(opened.resize((1600, 1200), Image.Resampling.BICUBIC), dtype=np.float64)
    noise = np.random.default_rng(0).normal(0, 3, enlarged.shape)
    return Image.fromarray((enlarged + noise).clip(0, 255).astype(np.uint8))


def pixels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return np.asarray(image.resize((64, 48), Image.Resampling.BICUBIC)).astype(np.int64)


@pytest.mark.parametrize(
    ("mode", "format_name"), [("RGB", "JPEG"), ("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "MPO"), ("L", "MPO")]
)
def test_a_big_jpeg_is_decoded_smaller_and_differs_by_at_most_2(
    loader: ImageLoader, photo: Image.Image, encode: Callable[..., bytes], mode: str, format_name: str
) -> None:
    frames = {"save_all": True, "append_images": [photo.convert(mode)]} if format_name == "MPO" else {}
    data = encode(photo.convert(mode), format_name, quality=92, **frames)
    image, exact = loader(data, model_size=MODEL), EXACT(data, model_size=MODEL)
    assert exact.size == (1600, 1200)
    assert image.size == (400, 300)
    assert np.abs(pixels(image) - pixels(exact)).max() <= 2


@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_chroma_subsampling_and_quality_keep_the_difference_small(
    loader: ImageLoader, photo: Image.Image, encode: Callable[..., bytes], subsampling: str, quality: int
) -> None:
    data = encode(photo, "JPEG", quality=quality, subsampling=subsampling)
    difference = pixels(loader(data, model_size=MODEL)) - pixels(EXACT(data, model_size=MODEL))
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("size", [(1600, 1200), (1200, 1600), (777, 3000), (256, 4000), (512, 512), (511, 512)])
@pytest.mark.parametrize("model_size", [(64, 64), (32, 64), (30, 17)])
def test_enough_pixels_are_left_and_the_sides_keep_their_proportion(
    loader: ImageLoader, encode: Callable[..., bytes], size: tuple[int, int], model_size: tuple[int, int]
) -> None:
    image = loader(encode(Image.new("RGB", size), "JPEG"), model_size=model_size)
    assert min(image.size) >= min(min(size), 3 * max(model_size))
    assert image.width * size[1] == image.height * size[0]


def test_a_path_and_a_file_object_are_decoded_smaller_too(
    loader: ImageLoader, photo: Image.Image, encode: Callable[..., bytes], tmp_path: Path
) -> None:
    data = encode(photo, "JPEG")
    (tmp_path / "photo.jpg").write_bytes(data)
    for item in (tmp_path / "photo.jpg", io.BytesIO(data)):
        assert loader(item, model_size=MODEL).size == (400, 300)


def test_a_small_jpeg_and_one_without_a_model_size_are_decoded_in_full(
    loader: ImageLoader, photo: Image.Image, encode: Callable[..., bytes]
) -> None:
    data = encode(photo, "JPEG")
    assert loader(data).size == (1600, 1200)
    assert loader(data, model_size=(336, 336)).tobytes() == loader(data).tobytes()


def test_the_callers_pil_image_is_never_drafted(
    loader: ImageLoader, photo: Image.Image, encode: Callable[..., bytes]
) -> None:
    image = Image.open(io.BytesIO(encode(photo, "JPEG")))
    assert loader(image, model_size=MODEL).size == (1600, 1200)
    assert image.size == (1600, 1200)


def test_an_orientation_is_applied_to_the_smaller_image_too(
    loader: ImageLoader, photo: Image.Image, encode: Callable[..., bytes]
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    assert loader(encode(photo, "JPEG", exif=exif), model_size=MODEL).size == (300, 400)


def test_other_formats_are_decoded_in_full(loader: ImageLoader, encode: Callable[..., bytes]) -> None:
    assert loader(encode(Image.new("RGB", (1600, 1200))), model_size=MODEL).size == (1600, 1200)
