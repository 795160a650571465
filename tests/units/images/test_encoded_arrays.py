"""Bytes that nobody has decoded, in arrays, tensors and URIs."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images import ImageLoader

LOADER = ImageLoader()


@pytest.mark.parametrize("kind", [lambda values: values, torch.from_numpy], ids=["array", "tensor"])
def test_an_array_with_one_axis_of_bytes_is_a_file(
    picture: Image.Image, encode: Callable[..., bytes], toy: ImageEncoder, kind: Callable[[Any], Any]
) -> None:
    data = kind(np.frombuffer(bytearray(encode(picture)), np.uint8))
    assert LOADER(data).tobytes() == picture.tobytes()
    assert toy.encode(data, on_error="nan").shape == (toy.dimension,)


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("shape", [(-1, 1), (1, -1), (1, -1, 1), (-1, 1, 1)])
def test_a_file_in_one_column_is_no_image(
    picture: Image.Image, encode: Callable[..., bytes], shape: tuple[int, ...], format_name: str
) -> None:
    loader = ImageLoader(channels="last")
    with pytest.raises(UnsupportedImageError, match=f"the bytes of a {format_name} file"):
        loader(np.frombuffer(encode(picture, format_name), np.uint8).reshape(shape))


def test_a_column_of_greys_is_an_image() -> None:
    assert LOADER(np.arange(200, dtype=np.uint8).reshape(200, 1)).size == (1, 200)


def test_an_array_with_one_axis_of_other_numbers_is_one_bad_image(toy: ImageEncoder) -> None:
    for values in (np.zeros(9), torch.zeros(9), np.zeros(9, np.int64)):
        with pytest.raises(UnsupportedImageError, match="2 or 3 axes"):
            toy.encode(values)


def test_an_array_of_paths_is_many_images(picture: Image.Image, tmp_path: Path, toy: ImageEncoder) -> None:
    picture.save(tmp_path / "a.png")
    assert toy.encode(np.array([str(tmp_path / "a.png")] * 3)).shape == (3, toy.dimension)


def test_an_array_without_axes_is_what_it_holds(picture: Image.Image, tmp_path: Path, toy: ImageEncoder) -> None:
    picture.save(tmp_path / "a.png")
    assert toy.encode(np.array(str(tmp_path / "a.png"))).shape == (toy.dimension,)
    for nothing in (np.array(5), np.float32(5), torch.tensor(5), np.array(None)):
        with pytest.raises(UnsupportedImageError):
            toy.encode(nothing)


def test_a_mask_is_not_lost_in_silence(picture: Image.Image) -> None:
    pixels = np.ma.masked_array(np.asarray(picture), mask=False)
    assert LOADER(pixels).tobytes() == picture.tobytes()
    pixels[0, 0] = np.ma.masked
    with pytest.raises(UnsupportedImageError, match=r"array.filled\(...\)"):
        LOADER(pixels)


@pytest.mark.parametrize("payload", [quote, lambda text: quote(text, safe=""), lambda text: text.rstrip("=")])
def test_base64_may_be_escaped_or_without_padding(encode: Callable[..., bytes], payload: Callable[[str], str]) -> None:
    for width in range(1, 12):
        image = Image.fromarray(np.random.default_rng(width).integers(0, 256, (5, width, 3), dtype=np.uint8))
        uri = "data:image/png;base64," + payload(base64.b64encode(encode(image)).decode())
        assert LOADER(uri).tobytes() == image.tobytes()


def test_a_file_object_of_coroutines_says_what_to_await() -> None:
    class Upload:
        async def read(self, size: int = -1) -> bytes:
            return b""

    with pytest.raises(UnsupportedImageError, match=r"await file.read\(\)"):
        LOADER(Upload())
