"""Strings have one meaning, whatever is in them, and errors show no more of them than they should."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder, ImageError, UnsupportedImageError
from clip_image_encoder.testing import ToyBackend

ENCODER = ImageEncoder(backend=ToyBackend(), num_workers=0)

NAMES = [
    "-rf.png",
    "--help",
    "new\nline.png",
    "a%20b.png",
    "http:__x.jpg",
    "data:,x",
    "data:image",
    "*.png",
    "~",
    "$HOME",
]


def failure(item: Any) -> ImageError:
    with pytest.raises(ImageError) as caught:
        ENCODER.encode([item])
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    return caught.value


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names")
@pytest.mark.parametrize("name", NAMES)
def test_a_path_is_a_file_name_and_nothing_else(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.effect_noise((20, 30), 50).save(tmp_path / "picture.png")
    (tmp_path / "picture.png").rename(tmp_path / name)
    assert ENCODER.encode([Path(name)]).shape == (1, 16)
    if not name.startswith("data:"):  # which is what a str, and only a str, may be
        assert ENCODER.encode([name]).shape == (1, 16)


@pytest.mark.parametrize("name", ["", " ", "\0", "a\0b.png", "x" * 5000, "\ud800.png", "photo", "base64,AAAA", "null"])
def test_a_string_that_is_no_file_is_no_text_either(name: str) -> None:
    failure(name)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="there are no devices with a name here")
@pytest.mark.parametrize("name", ["/dev/zero", "/dev/stdin", "/proc/self/mem", "/proc"])
def test_what_is_no_regular_file_is_refused_at_once(name: str) -> None:
    error = failure(name)
    assert isinstance(error, UnsupportedImageError) or name.startswith(("/proc/self", "/dev/stdin"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name here")
def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "cat.jpg")
    assert "not a regular file" in failure(tmp_path / "cat.jpg").reason


@pytest.mark.parametrize(
    "item",
    [
        "data:image/png;base64," + base64.b64encode(b"SECRET" * 300_000).decode(),
        "data:SECRET;" + "SECRET" * 300_000,
        base64.b64encode(b"SECRET" * 300_000).decode(),
        b"SECRET" * 300_000,
        "http://user:SECRET@host/a.png?token=SECRET#SECRET",
        "https://host/a.png?X-Amz-Signature=SECRET",
        "http://user:SECRET/SECRET@host/a.png",
        "HTTP://user:SECRET@[::1/a.png",
    ],
    ids=[
        "2 MB of base64 as URI",
        "URI without a comma",
        "bare base64",
        "bytes",
        "URL",
        "signed URL",
        "slash",
        "broken",
    ],
)
def test_errors_show_no_payload_and_no_secret(item: Any) -> None:
    error = failure(item)
    payload = base64.b64encode(b"SECRET" * 3).decode()
    for text in (str(error), repr(error), error.source):
        assert "SECRET" not in text
        assert payload not in text or not isinstance(item, str) or item.startswith(payload)
    assert len(error.source) <= 120
