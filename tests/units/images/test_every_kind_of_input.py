"""Whatever way an image arrives, it is the same image."""

from __future__ import annotations

import base64
import dataclasses
import io
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, get_type_hints
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import DEFAULT_FORMATS, ImageLoader
from clip_image_encoder.images.several import inputs_of


def same(image: Image.Image, expected: Image.Image) -> bool:
    return image.mode == "RGB" and image.size == expected.size and image.tobytes() == expected.tobytes()


def test_every_kind_of_input_gives_the_same_image(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes], tmp_path: Path
) -> None:
    data = encode(picture)
    path = tmp_path / "picture"
    path.write_bytes(data)
    pixels = np.asarray(picture)
    floats = pixels / np.float32(255)
    with path.open("rb") as file, Image.open(path) as lazy, zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("picture.png", data)
        inputs: dict[str, Any] = {
            "PIL": picture,
            "lazy PIL": lazy,
            "str": str(path),
            "Path": path,
            "bytes": data,
            "bytearray": bytearray(data),
            "memoryview": memoryview(data),
            "memoryview with gaps": memoryview(b"".join(bytes([byte, 0]) for byte in data))[::2],
            "BytesIO": io.BytesIO(data),
            "open file": file,
            "data URI": "data:image/png;base64," + base64.b64encode(data).decode(),
            "percent-encoded data URI": "DATA:," + quote(data),
            "HWC": pixels,
            "CHW": pixels.transpose(2, 0, 1),
            "Fortran order": np.asfortranarray(pixels),
            "negative strides": pixels[::-1, ::-1].copy()[::-1, ::-1],
            "int64": pixels.astype(np.int64),
            "big-endian uint16": (pixels.astype(np.uint16) * 257).astype(">u2"),
            "float16": floats.astype(np.float16),
            "float32": floats,
            "float64 CHW": (pixels / 255).transpose(2, 0, 1),
            "big-endian float64": (pixels / 255).astype(">f8"),
            "tensor": torch.tensor(pixels),
            "float tensor CHW": torch.tensor(floats).permute(2, 0, 1),
            "tensor with gradient": torch.tensor(floats, requires_grad=True),
        }
        pictures = {name: loader(item) for name, item in inputs.items()}
    assert [name for name, image in pictures.items() if not same(image, picture)] == []


def test_a_bfloat16_tensor_is_the_same_image_up_to_its_precision(loader: ImageLoader, picture: Image.Image) -> None:
    tensor = torch.tensor(np.asarray(picture) / np.float32(255)).to(torch.bfloat16)
    difference = np.asarray(loader(tensor)).astype(int) - np.asarray(picture)
    assert np.abs(difference).max() <= 1


def test_a_file_in_an_archive_and_one_that_can_not_seek_are_read(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes], tmp_path: Path
) -> None:
    class Response:
        def __init__(self, data: bytes) -> None:
            self.data = data

        def read(self, size: int) -> bytes:
            part, self.data = self.data[: min(size, 100)], self.data[min(size, 100) :]
            return part

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("picture.png", encode(picture))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("picture.png") as member:
        assert same(loader(member), picture)
    assert same(loader(Response(encode(picture))), picture)


def test_a_path_object_is_always_a_path(
    loader: ImageLoader, picture: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture.save("data:x", "PNG")
    assert same(loader(Path("data:x")), picture)


def test_content_decides_and_not_the_name(loader: ImageLoader, picture: Image.Image, tmp_path: Path) -> None:
    picture.save(tmp_path / "picture.jpg", "PNG")
    assert same(loader(tmp_path / "picture.jpg"), picture)


@pytest.mark.parametrize("format_name", sorted({*DEFAULT_FORMATS} - {"HEIF", "MPO"}))
def test_every_default_format_is_read(
    loader: ImageLoader, picture: Image.Image, encode: Callable[..., bytes], format_name: str
) -> None:
    data = encode(picture, format_name)
    with Image.open(io.BytesIO(data)) as opened:
        assert same(loader(data), opened.convert("RGB"))


@pytest.mark.parametrize("format_name", ["GIF", "WEBP", "TIFF", "PNG", "AVIF", "MPO"])
def test_of_several_frames_in_a_file_the_first_is_taken(
    loader: ImageLoader, encode: Callable[..., bytes], format_name: str
) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    pixels = np.asarray(loader(encode(frames[0], format_name, save_all=True, append_images=frames[1:])))
    assert pixels[8, 8, 0] > 240 > 20 > pixels[8, 8, 2]


@pytest.mark.parametrize("format_name", ["GIF", "TIFF"])
def test_of_a_pil_image_the_frame_that_it_shows_is_taken(
    loader: ImageLoader, encode: Callable[..., bytes], format_name: str
) -> None:
    frames = [Image.new("RGB", (16, 16), color) for color in ("red", "blue")]
    with Image.open(io.BytesIO(encode(frames[0], format_name, save_all=True, append_images=frames[1:]))) as image:
        image.seek(1)
        assert loader(image).getpixel((8, 8)) == (0, 0, 255)
        assert image.tell() == 1


def test_a_single_pixel_is_an_image(loader: ImageLoader) -> None:
    assert loader(Image.new("RGB", (1, 1), (1, 2, 3))).getpixel((0, 0)) == (1, 2, 3)


def test_the_result_is_a_new_image_without_metadata(loader: ImageLoader, picture: Image.Image) -> None:
    image = picture.copy()
    image.info["comment"] = "mine"
    result = loader(image)
    assert result is not image
    assert type(result) is Image.Image
    assert result.info == {}
    result.paste("black", (0, 0, 31, 22))
    assert same(image, picture)


@pytest.mark.parametrize("kind", ["lazy PIL image", "file object"])
def test_the_same_item_can_be_loaded_on_many_threads(
    loader: ImageLoader, encode: Callable[..., bytes], kind: str
) -> None:
    expected = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8))
    data = encode(expected)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(4):
            item = Image.open(io.BytesIO(data)) if kind == "lazy PIL image" else io.BytesIO(data)
            assert all(same(image, expected) for image in pool.map(loader, [item] * 16))


def test_a_loader_is_its_configuration(picture: Image.Image) -> None:
    loader = ImageLoader(background=(1, 2, 3), channels="last")
    assert eval(repr(loader), {"ImageLoader": ImageLoader}) == loader  # noqa: S307
    assert pickle.loads(pickle.dumps(loader)) == loader
    assert hash(dataclasses.replace(loader)) == hash(loader)
    assert dataclasses.replace(loader, exact=True) != loader
    assert same(pickle.loads(pickle.dumps(loader))(picture), picture)


def test_the_types_of_its_settings_can_be_looked_up() -> None:
    assert get_type_hints(ImageLoader)["channels"] == Literal["first", "last"] | None


@pytest.mark.parametrize(
    "arguments",
    [
        {"exact": 1},
        {"background": "white"},
        {"background": [255, 255]},
        {"background": (0, 0, 256)},
        {"background": (True, 0, 0)},
        {"channels": "middle"},
        {"color_profile": "adobe"},
        {"max_pixels": 0},
        {"max_bytes": 1.5},
        {"formats": ()},
        {"formats": "PNG"},
        {"formats": ("PNG", "JPG")},
        {"formats": ("EPS",)},
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_at_construction(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        ImageLoader(**arguments)


ONE = ["a.png", Path("a.png"), b"", bytearray(), memoryview(b""), io.BytesIO(), Image.new("L", (1, 1))]


@pytest.mark.parametrize("images", [*ONE, np.zeros((2, 2)), np.zeros((2, 2, 3)), torch.zeros(3, 2, 2)], ids=repr)
def test_one_image_is_told_by_its_type(images: object) -> None:
    assert inputs_of(images).is_single


@pytest.mark.parametrize(
    "images",
    [[], ["a.png"], (), iter(()), np.zeros((1, 2, 2, 3)), torch.zeros(1, 3, 2, 2), np.array(["a"])],
    ids=repr,
)
def test_what_holds_images_is_not_one_image(images: object) -> None:
    assert not inputs_of(images).is_single


@pytest.mark.parametrize("images", [{}, None, 3, Path], ids=repr)
def test_what_is_neither_an_image_nor_holds_images_in_an_order_is_refused(images: object) -> None:
    with pytest.raises(ConfigurationError):
        inputs_of(images)


def test_importing_the_loader_imports_no_framework() -> None:
    code = "import sys, clip_image_encoder.images; print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
