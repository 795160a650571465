"""Nothing but an ImageError leaves the loader, and it says what is wrong in a few words."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from clip_image_encoder.errors import (
    CorruptImageError,
    ImageError,
    UnsupportedImageError,
)
from clip_image_encoder.images import DEFAULT_FORMATS, ImageLoader

LOADER = ImageLoader()
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"


def picture_or_error(item: object, loader: ImageLoader = LOADER) -> Image.Image | ImageError:
    """Return what the loader makes of the input; whatever else it raises fails the test."""
    try:
        image = loader(item)
    except ImageError as error:
        assert len(str(error)) < 400
        assert str(error).isprintable()
        return error
    assert image.mode == "RGB"
    return image


def failure(item: object, loader: ImageLoader = LOADER) -> ImageError:
    outcome = picture_or_error(item, loader)
    assert isinstance(outcome, ImageError)
    return outcome


def files() -> dict[str, bytes]:
    picture = Image.fromarray(np.random.default_rng(7).integers(0, 256, (22, 31, 3), dtype=np.uint8))
    encoded = {}
    for name in sorted({*DEFAULT_FORMATS} - {"HEIF", "MPO"}):
        for mode in ("RGB", "P") if name in ("PNG", "GIF", "TIFF", "BMP") else ("RGB",):
            buffer = io.BytesIO()
            picture.convert(mode).save(buffer, name)
            encoded[f"{name} {mode}"] = buffer.getvalue()
    buffer = io.BytesIO()
    picture.save(buffer, "TIFF", compression="tiff_lzw")
    encoded["TIFF LZW"] = buffer.getvalue()
    return encoded


FILES = files()


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_short_is_an_image_error_or_an_image(name: str) -> None:
    data = FILES[name]
    for length in {1, 2, 8, 16, 30, *range(0, len(data), max(1, len(data) // 40))}:
        outcome = picture_or_error(data[:length])
        assert isinstance(outcome, ImageError) or length > len(data) // 2


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(sorted(FILES)), seed=st.integers(0, 2**32), changes=st.integers(1, 20), header=st.booleans()
)
def test_a_damaged_file_is_an_image_error_or_an_image(name: str, seed: int, changes: int, header: bool) -> None:
    data, generator = bytearray(FILES[name]), random.Random(seed)
    for _ in range(changes):
        data[generator.randrange(min(len(data), 100) if header else len(data))] = generator.randrange(256)
    picture_or_error(bytes(data), ImageLoader(max_pixels=10**6))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_an_image_error_or_an_image(data: bytes) -> None:
    for item in (data, io.BytesIO(data), "data:," + data.decode("latin-1"), data.decode("latin-1")):
        picture_or_error(item)


@pytest.mark.parametrize("name", ["JPEG RGB", "PNG RGB", "GIF RGB", "TIFF LZW", "AVIF RGB", "WEBP RGB"])
def test_a_truncated_file_is_corrupt_and_has_a_cause(name: str) -> None:
    error = failure(FILES[name][: len(FILES[name]) // 2])
    assert type(error) is CorruptImageError
    assert name.split()[0] in error.reason
    assert error.__cause__ is not None


def test_no_data_is_corrupt() -> None:
    for item in (b"", bytearray(), io.BytesIO(), "data:,", "data:image/png;base64,"):
        assert type(failure(item)) is CorruptImageError


@pytest.mark.parametrize(
    "raised",
    [OSError, ValueError, SyntaxError, NotImplementedError, ZeroDivisionError, IndexError, KeyError, RuntimeError],
)
def test_whatever_pillow_raises_is_corrupt(monkeypatch: pytest.MonkeyPatch, raised: type[Exception]) -> None:
    def load(image: Image.Image) -> None:
        raise raised("bytes of the file")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    error = failure(FILES["PNG RGB"])
    assert type(error) is CorruptImageError
    assert isinstance(error.__cause__, raised)
    assert "bytes of the file" not in str(error)


def test_ctrl_c_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: Image.Image) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(KeyboardInterrupt):
        LOADER(FILES["PNG RGB"])


@pytest.mark.parametrize(
    "item", [None, 3, 2.5, object(), {}, [], ["a.png"], Image.Image, io.BytesIO, np.float32], ids=repr
)
def test_what_is_no_image_is_refused_with_what_is_accepted(item: object) -> None:
    error = failure(item)
    assert type(error) is UnsupportedImageError
    assert "pass a path, bytes" in error.reason


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (EPS, "EPS"),
        (b"%PDF-1.7\n", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<!DOCTYPE html><html>404</html>", "HTML"),
        (b"8BPS\0\1", "PSD"),
    ],
)
def test_a_known_format_that_is_not_read_is_named(data: bytes, name: str) -> None:
    error = failure(data)
    assert type(error) is UnsupportedImageError
    assert f"format {name} is not read" in error.reason
    assert "JPEG" in error.reason


@pytest.mark.parametrize("data", [b"no image", bytes(100), b"P", b"P7\n", b"RIFF\0\0\0\0WAVE", b"\x1f\x8b\x08"])
def test_an_unknown_format_is_unsupported(data: bytes) -> None:
    assert type(failure(data)) is UnsupportedImageError


def test_only_the_formats_of_the_loader_are_read() -> None:
    assert ImageLoader(formats=("PNG",))(FILES["PNG RGB"]).size == (31, 22)
    for loader in (ImageLoader(formats=("JPEG", "MPO")), ImageLoader(formats=("MPO",))):
        assert "format PNG is not read" in failure(FILES["PNG RGB"], loader).reason
    assert "format JPEG is not read" in failure(FILES["JPEG RGB"], ImageLoader(formats=("MPO",))).reason


def test_a_format_of_another_plugin_can_be_added(encode: Callable[..., bytes], picture: Image.Image) -> None:
    data = encode(picture, "TGA")
    assert type(failure(data)) is UnsupportedImageError
    assert ImageLoader(formats=("PNG", "TGA"))(data).tobytes() == picture.tobytes()


def test_no_plugin_of_another_format_sees_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    def accept(prefix: bytes) -> bool:
        seen.append(prefix)
        return False

    monkeypatch.setitem(Image.OPEN, "EPS", (EpsImagePlugin.EpsImageFile, accept))
    failure(EPS)
    assert seen == []


def test_an_eps_that_the_caller_opened_starts_no_ghostscript(monkeypatch: pytest.MonkeyPatch) -> None:
    def ghostscript(*arguments: Any, **options: Any) -> None:
        raise AssertionError("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", ghostscript)
    image = Image.open(io.BytesIO(EPS))
    error = failure(image)
    assert type(error) is UnsupportedImageError
    assert "EPS" in error.reason


def test_a_pil_image_without_pixels_is_refused() -> None:
    assert type(failure(Image.new("RGB", (0, 5)))) is UnsupportedImageError


def test_a_closed_pil_image_is_an_image_error() -> None:
    image = Image.open(io.BytesIO(FILES["PNG RGB"]))
    image.close()
    failure(image)


@pytest.mark.parametrize(
    ("item", "source"),
    [
        ("missing.png", "missing.png"),
        (b"x" * 1234, "bytes (1,234 bytes)"),
        (Image.new("I", (640, 480), -1), "PIL image (I 640x480)"),
        (np.full((8, 9, 3), 2.0, np.float32), "array (8, 9, 3) float32"),
        ("data:image/png;base64,AAAA", "data URI (image/png)"),
        (io.BytesIO(b"x"), "file object (BytesIO)"),
        (None, "NoneType"),
    ],
)
def test_the_source_is_the_input_in_a_few_words(item: object, source: str) -> None:
    assert failure(item).source == source


def test_a_long_path_is_shortened_in_its_middle() -> None:
    source = failure("start/" + "x" * 200 + "/end.png").source
    assert source.startswith("start/")
    assert source.endswith("/end.png")
    assert len(source) <= 120
