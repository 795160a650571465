"""A file whose end is missing is refused on every way in, or kept with a warning that names it."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL.ExifTags import Base

from clip_image_encoder.errors import CorruptImageError
from clip_image_encoder.images import ImageLoader
from tests.units.images.png_files import png_of

LOADER = ImageLoader()
KEEPING = ImageLoader(truncated="keep")
END_OF_IMAGE = b"\xff\xd9"


@pytest.fixture(scope="session")
def photo(photos: list[Image.Image]) -> Image.Image:
    return photos[0].resize((320, 214))


KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "baseline with restarts": {"restart_marker_rows": 1},
    "colors in full": {"subsampling": 0},
    "progressive": {"progressive": True},
    "progressive with restarts": {"progressive": True, "restart_marker_rows": 1},
}


@pytest.mark.parametrize("pillow", [False, True], ids=["", "LOAD_TRUNCATED_IMAGES"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", [b"", END_OF_IMAGE], ids=["", "with an end"])
def test_a_jpeg_that_is_cut_is_refused(
    photo: Image.Image, encode: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch,
    kind: str, mode: str, ending: bytes, pillow: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", pillow)
    data = encode(photo.convert(mode), "JPEG", **KINDS[kind])
    begin = data.index(b"\xff\xda") + 20
    assert LOADER(data).size == photo.size
    for part in (0.1, 0.4, 0.7, 0.9, 0.98):
        with pytest.raises(CorruptImageError):
            LOADER(data[: begin + int((len(data) - 2 - begin) * part)] + ending)


def png(rows: int, of: int, *, interlaced: bool = False) -> bytes:
    """Return a PNG of `of` rows that are all white, of which only the first `rows` are written."""
    header = struct.pack(">IIBBBBB", 32, of, 8, 0, 0, 0, interlaced)
    lengths = [33] * rows if not interlaced else [5] * (-(-rows // 8)) + [5]
    return png_of(header, b"".join(b"\0" + b"\xff" * (length - 1) for length in lengths))


@pytest.mark.parametrize("pillow", [False, True], ids=["", "LOAD_TRUNCATED_IMAGES"])
@pytest.mark.parametrize("data", [png(20, 48), png(47, 48), png(20, 48, interlaced=True)])
def test_a_png_whose_rows_end_early_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes, pillow: bool) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", pillow)
    with pytest.raises(CorruptImageError, match="rows are missing"):
        LOADER(data)


@pytest.mark.parametrize("options", [{}, {"compress_level": 0}])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_a_png_that_ends_with_black_rows_is_whole(
    encode: Callable[..., bytes], mode: str, options: dict[str, int]
) -> None:
    image = Image.new(mode, (37, 23))
    image.putpixel((0, 0), (255,) * 4 if mode == "RGBA" else (255,) * 3 if mode == "RGB" else 1)
    assert LOADER(encode(image, "PNG", **options)).size == (37, 23)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (5, 3), (8, 8), (13, 17)])
def test_an_interlaced_black_png_is_whole(size: tuple[int, int]) -> None:
    width, height = size
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    rows = b""
    for left, top, across, down in passes:
        columns = len(range(left, width, across))
        rows += b"\0" * (1 + columns) * len(range(top, height, down)) if columns else b""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    assert LOADER(png_of(header, rows)).getextrema() == ((0, 0),) * 3


def test_a_compressed_tiff_with_zeros_for_its_end_is_refused(photo: Image.Image, encode: Callable[..., bytes]) -> None:
    data = encode(photo, "TIFF", compression="tiff_adobe_deflate")
    with Image.open(io.BytesIO(data)) as image:
        end = image.tag_v2[Base.StripOffsets][-1] + image.tag_v2[Base.StripByteCounts][-1]  # type: ignore[attr-defined]
    assert LOADER(data).size == photo.size
    with pytest.raises(CorruptImageError, match="the end of a strip or tile is missing"):
        LOADER(data[: end - 16] + bytes(16) + data[end:])


@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_every_way_in_refuses_what_is_cut_and_names_the_switch(
    photo: Image.Image, encode: Callable[..., bytes], tmp_path: Path, format_name: str
) -> None:
    data = encode(photo, format_name)
    cut = tmp_path / "cut"
    cut.write_bytes(data[: int(len(data) * 0.6)])
    with Image.open(cut) as lazy, cut.open("rb") as file:
        for item in (str(cut), cut, cut.read_bytes(), file, lazy):
            with pytest.raises(CorruptImageError, match=r"ImageLoader\(truncated='keep'\)"):
                LOADER(item)


@pytest.mark.parametrize("format_name", ["JPEG", "progressive JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_what_is_left_is_kept_if_asked_for_with_a_warning_that_names_it(
    photo: Image.Image, encode: Callable[..., bytes], tmp_path: Path, format_name: str
) -> None:
    options = {"progressive JPEG": {"progressive": True}, "GIF": {"interlace": False}}
    data = encode(photo, format_name.split()[-1], **options.get(format_name, {}))
    whole = np.asarray(LOADER(data)).astype(int)
    cut = tmp_path / "cut"
    cut.write_bytes(data[: int(len(data) * 0.6)])
    with pytest.warns(UserWarning, match=rf"{cut.name}: .*what is left of it is used"):
        kept = np.asarray(KEEPING(cut)).astype(int)
    assert kept.shape == whole.shape
    first = slice(-50, None) if format_name == "BMP" else slice(50)  # a BMP begins at the bottom
    assert np.abs(kept[first] - whole[first]).mean() < (12 if "progressive" in format_name else 0.1)


@pytest.mark.parametrize("data", [png(20, 48), png(20, 48, interlaced=True)])
def test_rows_that_are_there_are_kept(data: bytes) -> None:
    with pytest.warns(UserWarning, match="rows are missing"):
        assert KEEPING(data).getpixel((0, 0)) == (255, 255, 255)


def test_a_whole_file_warns_of_nothing(photo: Image.Image, encode: Callable[..., bytes]) -> None:
    for format_name in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"):
        assert KEEPING(encode(photo, format_name)).tobytes() == LOADER(encode(photo, format_name)).tobytes()


def test_a_jpeg_without_its_last_marker_alone_is_whole(photo: Image.Image, encode: Callable[..., bytes]) -> None:
    data = encode(photo, "JPEG")
    assert LOADER(data[:-2]).tobytes() == LOADER(data).tobytes()


def test_what_follows_the_image_does_not_matter(photo: Image.Image, encode: Callable[..., bytes]) -> None:
    for options in ({}, {"progressive": True}):
        data = encode(photo, "JPEG", **options)
        assert LOADER(data + b"\xff\xda\0\0 and more").tobytes() == LOADER(data).tobytes()
    data = encode(photo, "PNG")
    assert LOADER(data + b"more").tobytes() == LOADER(data).tobytes()


def test_an_image_that_the_caller_has_loaded_is_taken_as_it_is(
    photo: Image.Image, encode: Callable[..., bytes]
) -> None:
    data = encode(photo, "JPEG")
    with Image.open(io.BytesIO(data[: len(data) // 2] + END_OF_IMAGE)) as image:
        image.load()
        assert LOADER(image).tobytes() == image.tobytes()
