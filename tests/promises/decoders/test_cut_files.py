"""Files whose end is missing: an error, whether or not an end marker hides it; and whole files that only look cut."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.promises.decoders.rule import Values, drawing, scaled
from tests.promises.decoders.ways import LAZY, assert_refused, assert_right
from tests.promises.decoders.written_files import gif, gif_frame, png, png_chunk, tags, tiff

# Enough rows for several strips, and noise enough that no format packs it into a few bytes.
PICTURE: Values = scaled(drawing(3, height=160, width=200), 200, "u1") + np.random.default_rng(1).integers(
    0, 50, (160, 200, 3), dtype=np.uint8
)
INDICES = PICTURE[..., 0] // 2


def saved(format_name: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(file, format_name, **options)
    return file.getvalue()


WHOLE: dict[str, bytes] = {
    "JPEG": saved("JPEG"),
    "JPEG, grey": saved("JPEG", "L"),
    "JPEG, CMYK": saved("JPEG", "CMYK"),
    "JPEG, 4:4:4": saved("JPEG", subsampling=0),
    "JPEG, restart markers": saved("JPEG", restart_marker_rows=1),
    "JPEG, progressive": saved("JPEG", progressive=True),
    "JPEG, progressive, grey": saved("JPEG", "L", progressive=True),
    "MPO": saved("MPO"),
    "PNG": saved("PNG"),
    "PNG, grey": saved("PNG", "L"),
    "PNG, palette": saved("PNG", "P"),
    "TIFF": saved("TIFF"),
    "TIFF, LZW": saved("TIFF", compression="tiff_lzw"),
    "TIFF, deflate": saved("TIFF", compression="tiff_adobe_deflate"),
    "TIFF, JPEG": saved("TIFF", compression="jpeg"),
    "WebP": saved("WEBP"),
    "WebP, lossless": saved("WEBP", lossless=True),
    "WebP, alpha": saved("WEBP", "RGBA"),
    "GIF": saved("GIF"),
    "GIF, by hand": gif(INDICES.shape, np.random.default_rng(2).integers(0, 256, (128, 3)), gif_frame(INDICES)),
    "GIF, interlaced": saved("GIF", interlace=1),
    "BMP": saved("BMP"),
    "BMP, palette": saved("BMP", "P"),
    "PPM": saved("PPM"),
    "PGM": saved("PPM", "L"),
    "JPEG2000": saved("JPEG2000"),
    "AVIF": saved("AVIF"),
}


def tiff_cut(compression: int, share: float, *, filled: bool) -> bytes:
    """Return a TIFF whose strip ends early: by its byte count, or filled up with zeros."""
    strip = PICTURE.tobytes()
    strip = zlib.compress(strip) if compression == 8 else strip
    directory = tags(200, 160, bits=[8, 8, 8], photometric=2, compression=compression)
    kept = strip[: int(len(strip) * share)]
    return tiff((directory, kept.ljust(len(strip), b"\0") if filled else kept))


END = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": png_chunk(b"IEND", b""), "GIF": b"\x3b", "JPEG2000": b"\xff\xd9"}
SHARES = [0.2, 0.5, 0.9]


def end_of(name: str) -> bytes | None:
    return END.get(name.split(",")[0])


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_is_refused(name: str, share: float) -> None:
    data = WHOLE[name]
    assert_refused(data[: int(len(data) * share)])


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", [name for name in WHOLE if end_of(name)])
def test_an_end_marker_behind_the_cut_hides_nothing(name: str, share: float) -> None:
    data, end = WHOLE[name], end_of(name)
    assert end is not None
    assert_refused(data[: int(len(data) * share)] + end)


# What a broken download leaves. In raw pixels, WebP and AVIF zeros are data like any other.
@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", [name for name in WHOLE if name.startswith(("JPEG", "MPO", "PNG", "GIF", "TIFF, "))])
def test_a_file_whose_end_is_zeros_is_refused(name: str, share: float) -> None:
    data = WHOLE[name]
    assert_refused(data[: int(len(data) * share)].ljust(len(data), b"\0"))


@pytest.mark.parametrize("way", LAZY)
@pytest.mark.parametrize("name", ["JPEG", "JPEG, progressive", "PNG", "GIF"])
def test_a_cut_file_with_an_end_marker_is_refused_on_every_way_in(name: str, way: str, tmp_path: Path) -> None:
    data, end = WHOLE[name], end_of(name)
    assert end is not None
    assert_refused(LAZY[way](data[: len(data) // 2] + end, tmp_path))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("kind", ["PNG", "PNG, interlaced", "PNG, palette"])
def test_a_png_whose_stream_ends_before_its_last_row_is_refused(kind: str, share: float) -> None:
    rows = int(160 * share)
    if kind == "PNG, palette":
        colors = np.random.default_rng(2).integers(0, 256, 128 * 3, dtype=np.uint8).tobytes()
        data = png(INDICES[:rows], depth=8, color_type=3, chunks=[(b"PLTE", colors)], size=INDICES.shape)
    else:
        data = png(PICTURE[:rows], depth=8, color_type=2, size=PICTURE.shape[:2])
    if kind == "PNG, interlaced":
        header = struct.pack(">IIBBBBB", 200, 160, 8, 2, 0, 0, 1)
        data = data[:8] + png_chunk(b"IHDR", header) + data[33:]
    assert_refused(data)


@pytest.mark.parametrize("share", SHARES)
def test_a_png_whose_compressed_stream_stops_is_refused(share: float) -> None:
    stream = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PICTURE))
    header = struct.pack(">IIBBBBB", 200, 160, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", stream[: int(len(stream) * share)]), (b"IEND", b"")]
    assert_refused(b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts))


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("filled", [False, True], ids=["counted", "zeros"])
def test_a_deflated_tiff_whose_strip_stops_is_refused(filled: bool, share: float) -> None:
    assert_refused(tiff_cut(8, share, filled=filled))


@pytest.mark.parametrize("share", SHARES)
def test_a_raw_tiff_whose_strip_is_too_short_is_refused(share: float) -> None:
    assert_refused(tiff_cut(1, share, filled=False))


def without_end(name: str) -> bytes:
    data, end = WHOLE[name], end_of(name)
    assert end is not None
    assert data.endswith(end)
    return data[: -len(end)]


TRAILING: dict[str, Callable[[bytes], bytes]] = {
    "zeros": lambda data: data + bytes(1000),
    "an end of line": lambda data: data + b"\r\n",
    "another file": lambda data: data + b"PK\x03\x04 and so on",
}


@pytest.mark.parametrize("trailing", TRAILING)
@pytest.mark.parametrize("name", [name for name in WHOLE if name != "AVIF"])
def test_whole_files_with_something_behind_their_end_are_read(name: str, trailing: str) -> None:
    with Image.open(io.BytesIO(WHOLE[name])) as image:
        right = np.asarray(image.convert("RGB"))
    assert_right(TRAILING[trailing](WHOLE[name]), right, within=0)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read(name: str) -> None:
    with Image.open(io.BytesIO(WHOLE[name])) as image:
        right = np.asarray(image.convert("RGB"))
    assert_right(WHOLE[name], right, within=0)


@pytest.mark.parametrize("name", ["PNG", "PNG, grey", "PNG, palette", "GIF"])
def test_files_that_lack_nothing_but_their_end_marker_are_read(name: str) -> None:
    with Image.open(io.BytesIO(WHOLE[name])) as image:
        right = np.asarray(image.convert("RGB"))
    assert_right(without_end(name), right, within=0)
