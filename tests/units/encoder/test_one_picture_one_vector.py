"""Whatever way an image arrives, its vector is the same."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from clip_image_encoder import ImageEncoder

Arrive = Callable[[Image.Image, bytes, Path], object]

WAYS: dict[str, Arrive] = {
    "path": lambda image, png, path: path,
    "path as str": lambda image, png, path: str(path),
    "bytes": lambda image, png, path: png,
    "bytearray": lambda image, png, path: bytearray(png),
    "memoryview": lambda image, png, path: memoryview(png),
    "file object": lambda image, png, path: io.BytesIO(png),
    "data URI": lambda image, png, path: "data:image/png;base64," + base64.b64encode(png).decode(),
    "PIL": lambda image, png, path: image,
    "PIL, lazy": lambda image, png, path: Image.open(io.BytesIO(png)),
    "HWC": lambda image, png, path: np.asarray(image),
    "CHW": lambda image, png, path: np.asarray(image).transpose(2, 0, 1),
    "HWC float": lambda image, png, path: np.asarray(image) / np.float32(255),
    "CHW tensor": lambda image, png, path: torch.from_numpy(np.array(image)).permute(2, 0, 1),
    "CHW float tensor": lambda image, png, path: torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255,
    "RGBA, opaque": lambda image, png, path: image.convert("RGBA"),
}


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder("tiny-shapes")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (75, 101, 3), dtype=np.uint8))


@pytest.mark.parametrize("way", WAYS)
def test_every_kind_of_input_gives_one_vector(
    encoder: ImageEncoder, picture: Image.Image, tmp_path: Path, way: str
) -> None:
    path = tmp_path / "picture.png"
    picture.save(path)
    arrived = WAYS[way](picture, path.read_bytes(), path)
    np.testing.assert_array_equal(encoder.encode(arrived), encoder.encode(picture))  # type: ignore[arg-type]  # any of them


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Return the image as a camera would have stored it with that EXIF orientation."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    return picture.transpose(undo[orientation]) if orientation in undo else picture.copy()


def _arrivals(stored: Image.Image, orientation: int, folder: Path) -> Iterator[object]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for suffix in ("png", "webp", "tiff"):
        path = folder / f"{orientation}.{suffix}"
        stored.save(path, exif=exif, lossless=True)
        yield path
        yield path.read_bytes()
        yield io.BytesIO(path.read_bytes())
        yield Image.open(io.BytesIO(path.read_bytes()))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_one_vector_through_every_kind_of_input(
    encoder: ImageEncoder, picture: Image.Image, tmp_path: Path, orientation: int
) -> None:
    expected = encoder.encode(picture)
    for arrival in _arrivals(_turned(picture, orientation), orientation, tmp_path):
        np.testing.assert_array_equal(encoder.encode(arrival), expected)  # type: ignore[arg-type]  # any of them
