"""Whatever becomes of a file on its way, what leaves `encode` is a unit vector or one of our own errors."""

from __future__ import annotations

import io
import random
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import CorruptImageError, ImageEncoder, ImageError, ImageLoader
from clip_image_encoder.testing import ToyBackend

from .hostile_files import FORMATS, bent, every_format

FILES = every_format()
# Every format that may be allowed, and not only those that are: the more of Pillow is exposed, the better.
READABLE = (*(name for name in FORMATS if name not in ("EPS", "PALM", "PDF")), "FLI", "FTEX", "PSD", "SUN", "XPM")
ENCODERS = {
    "default": ImageEncoder(backend=ToyBackend(), num_workers=0),
    "all formats": ImageEncoder(
        backend=ToyBackend(),
        num_workers=0,
        loader=ImageLoader(formats=READABLE, max_pixels=10**6),
    ),
}


def encode(item: Any, loader: str) -> ImageError | None:
    """Encode one input and return the error it gave; any that is not ours fails the test."""
    try:
        vector = ENCODERS[loader].encode([item])[0]
    except ImageError as error:
        assert error.index == 0
        assert len(str(error)) < 600
        assert str(error).isprintable()
        return error
    assert abs(float(np.linalg.norm(vector)) - 1) < 1e-5
    return None


@pytest.mark.parametrize("loader", ENCODERS)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it finds in broken files
class TestEveryFormat:
    def test_whole(self, name: str, loader: str) -> None:
        encode(FILES[name], loader)

    def test_cut_at_many_places(self, name: str, loader: str) -> None:
        data = FILES[name]
        for length in {*range(min(len(data), 64)), *range(64, len(data), max(1, len(data) // 60))}:
            encode(data[:length], loader)

    def test_bent_in_many_ways(self, name: str, loader: str) -> None:
        generator = random.Random(name)
        for _ in range(120):
            encode(bent(FILES[name], generator), loader)

    def test_opened_lazily_by_the_caller_and_cut(self, name: str, loader: str) -> None:
        for length in (len(FILES[name]) // 2, len(FILES[name]) - 3):
            try:
                image = Image.open(io.BytesIO(FILES[name][:length]))
            except Exception:  # noqa: BLE001, S112 - it never comes to an encode
                continue
            encode(image, loader)


@pytest.mark.parametrize(
    "raised",
    [
        OSError("image file is truncated"),
        ValueError("not enough image data"),
        SyntaxError("broken PNG file"),
        NotImplementedError("Unknown compression"),
        Image.DecompressionBombError("too large"),
        subprocess.CalledProcessError(1, "gs"),
        MemoryError(),
        struct.error("unpack requires a buffer of 4 bytes"),
        ZeroDivisionError("division by zero"),
        IndexError("list index out of range"),
        KeyError("transparency"),
        TypeError("a bytes-like object is required"),
        EOFError("no more frames"),
        OverflowError("Python int too large to convert to C int"),
        RecursionError("maximum recursion depth exceeded"),
        AttributeError("'NoneType' object has no attribute 'read'"),
        AssertionError(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("where", ["PngImageFile.load", "PngImageFile._open"])
def test_whatever_pillow_raises_is_an_image_error_with_that_as_its_cause(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, where: str
) -> None:
    def fail(image: Image.Image) -> None:
        raise raised

    monkeypatch.setattr(f"PIL.PngImagePlugin.{where}", fail)
    error = encode(FILES["PNG"], "default")
    assert error is not None
    # What Pillow's own plugins raise while they open a file, Pillow counts as "not my format".
    assert error.__cause__ is raised or where.endswith("_open")


def test_headers_that_lie_about_the_size_are_found_out(tmp_path: Path) -> None:
    png = bytearray(FILES["PNG"])
    for width, height in [(0, 22), (31, 0), (0xFFFFFFFF, 1), (31, 10**6), (10**6, 31), (32, 23)]:
        png[16:24] = struct.pack(">II", width, height)
        assert encode(bytes(png), "default") is not None
    bmp = bytearray(FILES["BMP"])
    for width, height in [(0, 22), (-31, 22), (31, -(2**31)), (2**31 - 1, 2**31 - 1), (31, 1000)]:
        bmp[18:26] = struct.pack("<ii", width, height)
        assert encode(bytes(bmp), "default") is not None


def test_a_truncated_jpeg_is_named_and_stops_no_worker(tmp_path: Path) -> None:
    (tmp_path / "half.jpg").write_bytes(FILES["JPEG"][: len(FILES["JPEG"]) // 2])
    encoder = ImageEncoder(backend=ToyBackend(), num_workers=2)
    batches = list(encoder.stream([tmp_path / "half.jpg", FILES["JPEG"]] * 20, batch_size=4))
    failures = [failure for batch in batches for failure in batch.failures]
    assert [failure.index for failure in failures] == list(range(0, 40, 2))
    assert {type(failure) for failure in failures} == {CorruptImageError}
