"""What costs too much is refused before it is paid."""

from __future__ import annotations

import base64
import dataclasses
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from clip_image_encoder.errors import ImageTooLargeError
from clip_image_encoder.images import ImageLoader
from tests.units.images.png_files import SIGNATURE, chunk

SMALL = ImageLoader(max_pixels=31 * 22 - 1)
EXACT_FIT = dataclasses.replace(SMALL, max_pixels=31 * 22)


@pytest.fixture
def nothing_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: Image.Image) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)


@pytest.mark.usefixtures("nothing_is_decoded")
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_a_file_with_too_many_pixels_is_refused_by_its_header(
    picture: Image.Image, encode: Callable[..., bytes], format_name: str
) -> None:
    with pytest.raises(ImageTooLargeError, match="31 x 22"):
        SMALL(encode(picture, format_name))


def test_an_image_of_exactly_max_pixels_is_read(picture: Image.Image, encode: Callable[..., bytes]) -> None:
    for item in (encode(picture), picture, np.asarray(picture)):
        assert EXACT_FIT(item).size == picture.size


@pytest.mark.usefixtures("nothing_is_decoded")
def test_pil_images_and_arrays_obey_max_pixels_too(picture: Image.Image, encode: Callable[..., bytes]) -> None:
    lazy = Image.open(io.BytesIO(encode(picture)))
    for item in (lazy, picture, np.asarray(picture), np.asarray(picture).transpose(2, 0, 1)):
        with pytest.raises(ImageTooLargeError, match="31 x 22"):
            SMALL(item)


def test_a_big_jpeg_is_measured_before_it_is_made_smaller(encode: Callable[..., bytes]) -> None:
    with pytest.raises(ImageTooLargeError, match="800 x 800"):
        ImageLoader(max_pixels=799 * 800)(encode(Image.new("RGB", (800, 800)), "JPEG"), model_size=(32, 32))


@pytest.mark.parametrize("error", ["bomb", "warning as an error", "memory"])
def test_what_pillow_finds_too_big_is_too_large(
    picture: Image.Image, encode: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    # The suite turns warnings into errors, as an application may.
    limits = {"bomb": 31 * 22 // 3, "warning as an error": 31 * 22 - 1, "memory": 10**9}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limits[error])

    def no_memory(image: Image.Image, *arguments: Any) -> None:
        raise MemoryError

    if error == "memory":
        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", no_memory)
    with pytest.raises(ImageTooLargeError) as caught:
        ImageLoader()(encode(picture))
    assert caught.value.__cause__ is not None


def test_an_image_of_the_callers_that_can_not_be_copied_is_too_large(
    picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(image: Image.Image) -> None:
        raise MemoryError

    image = picture.convert("RGB")
    monkeypatch.setattr(Image.Image, "copy", no_memory)
    with pytest.raises(ImageTooLargeError, match="memory"):
        ImageLoader()(image)


def test_a_png_that_unpacks_to_gigabytes_is_refused(loader: ImageLoader) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    with pytest.raises(ImageTooLargeError):
        loader(SIGNATURE + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def test_every_encoded_input_obeys_max_bytes(
    picture: Image.Image, encode: Callable[..., bytes], tmp_path: Path
) -> None:
    data = encode(picture)
    (tmp_path / "picture.png").write_bytes(data)

    def inputs() -> list[Any]:
        base64_uri = "data:image/png;base64," + base64.b64encode(data).decode()
        sources = [tmp_path / "picture.png", str(tmp_path / "picture.png"), data, bytearray(data), memoryview(data)]
        return [*sources, io.BytesIO(data), base64_uri, "data:," + quote(data)]

    for item in inputs():
        assert ImageLoader(max_bytes=len(data))(item).size == picture.size
    for item in inputs():
        with pytest.raises(ImageTooLargeError, match="max_bytes"):
            ImageLoader(max_bytes=len(data) - 1)(item)


def test_a_file_that_is_too_long_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(10**12)  # a hole: it takes no room on the disk
    monkeypatch.setattr(Path, "open", None)
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        ImageLoader()(path)


@pytest.mark.parametrize("limit", [2**40, 2**63, 10**30])
def test_a_limit_beyond_the_memory_is_no_limit(picture: Image.Image, tmp_path: Path, limit: int) -> None:
    path = tmp_path / "picture.png"
    picture.save(path)
    with path.open("rb") as file:
        for item in (path, file):
            assert ImageLoader(max_bytes=limit)(item).size == picture.size


def test_an_endless_file_object_is_read_up_to_max_bytes_and_one_more() -> None:
    class Endless:
        taken = 0

        def read(self, size: int) -> bytes:
            self.taken += min(size, 100)
            return bytes(min(size, 100))

    file = Endless()
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        ImageLoader(max_bytes=1234)(file)
    assert file.taken == 1235
