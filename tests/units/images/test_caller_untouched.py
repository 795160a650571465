"""The caller's objects and Pillow's settings stay as they are."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from clip_image_encoder.errors import ImageError
from clip_image_encoder.images import ImageLoader


def state(image: Image.Image) -> tuple[Any, ...]:
    palette = image.getpalette(None) if image.mode in ("P", "PA") else None
    return (
        image.mode,
        image.size,
        image.tobytes(),
        dict(image.info),
        palette,
        image.tell(),
        image.im.getpalettemode() if palette else "",
    )


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "HSV", "LAB"])
def test_a_pil_image_is_not_changed(loader: ImageLoader, picture: Image.Image, mode: str) -> None:
    image = (
        picture.convert("L").point(lambda value: value).convert(mode)
        if mode in ("I", "F", "I;16")
        else picture.convert(mode)
    )
    if mode == "F":
        image = Image.fromarray(np.asarray(image) / np.float32(255))
    image.info["comment"] = "mine"
    before = state(image)
    loader(image)
    assert state(image) == before


@pytest.mark.parametrize("transparency", [1, bytes([255, 0])])
def test_the_palette_of_a_transparent_image_is_not_changed(loader: ImageLoader, transparency: int | bytes) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([9, 8, 7, 6, 5, 4])
    image.info["transparency"] = transparency
    before = state(image)
    loader(image)
    assert state(image) == before


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "TIFF", "WEBP"])
def test_a_lazy_pil_image_is_the_same_as_if_it_were_loaded(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes], format_name: str
) -> None:
    exif = Image.Exif()
    exif[274] = 6
    data = encode(picture, format_name, **({} if format_name == "GIF" else {"exif": exif}))
    image, untouched = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
    loader(image)
    untouched.load()
    assert state(image) == state(untouched)
    assert dict(image.getexif()) == dict(untouched.getexif())


@pytest.mark.parametrize("position", [0, 17, 10**6])
def test_a_file_object_keeps_its_position_and_stays_open(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes], position: int
) -> None:
    file = io.BytesIO(encode(picture))
    file.seek(position)
    assert loader(file).size == picture.size
    assert file.tell() == position


def test_a_file_object_keeps_its_position_when_it_holds_no_image(loader: ImageLoader) -> None:
    file = io.BytesIO(b"no image")
    file.seek(3)
    with pytest.raises(ImageError):
        loader(file)
    assert file.tell() == 3


def test_bytes_that_can_change_are_not_changed(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes]
) -> None:
    data = bytearray(encode(picture))
    before = bytes(data)
    result = loader(data)
    assert data == before
    data[:] = bytes(len(data))
    assert result.tobytes() == picture.tobytes()


def test_a_result_does_not_share_an_arrays_memory(loader: ImageLoader) -> None:
    for shape in ((8, 9), (8, 9, 3), (8, 9, 4)):
        array = np.full(shape, 255, np.uint8)
        result = loader(array)
        array[:] = 0
        assert result.getpixel((4, 4)) == (255, 255, 255)
        result.putpixel((4, 4), (7, 7, 7))
        assert not array.any()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files can't be counted here")
def test_every_path_is_closed_again(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes], tmp_path: Path
) -> None:
    data = encode(picture, "TIFF", compression="tiff_lzw")
    (tmp_path / "good.tif").write_bytes(data)
    (tmp_path / "cut.tif").write_bytes(data[: len(data) // 2])
    (tmp_path / "none.tif").write_bytes(b"no image")
    before = os.listdir("/proc/self/fd")  # noqa: PTH208
    assert loader(tmp_path / "good.tif").size == picture.size
    for name in ("cut.tif", "none.tif"):
        with pytest.raises(ImageError):
            loader(tmp_path / name)
    assert os.listdir("/proc/self/fd") == before  # noqa: PTH208


def test_pillows_settings_and_the_warning_filters_stay(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes]
) -> None:
    def settings() -> tuple[Any, ...]:
        return Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)

    before = settings()
    loader(encode(picture, "JPEG"), model_size=(2, 2))
    with pytest.raises(ImageError):
        loader(encode(picture, "JPEG")[:200])
    assert settings() == before


def test_pillows_other_plugins_are_not_loaded() -> None:
    code = (
        "import io, sys; from PIL import Image; from clip_image_encoder.images import ImageLoader;"
        "file = io.BytesIO(); Image.new('RGB', (4, 4)).save(file, 'WEBP'); loader = ImageLoader(); loader(file);"
        "print(sorted(name for name in sys.modules if 'Eps' in name or 'Psd' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
