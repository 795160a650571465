"""Formats are judged by content, on every way in, and nothing ever starts another program."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, UnsupportedImageError
from clip_image_encoder.testing import ToyBackend

from .hostile_files import EPS

WAYS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "path as str": str,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "file object": lambda path: io.BytesIO(path.read_bytes()),
    "data URI": lambda path: "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode(),
    "lazily opened PIL image": Image.open,
}


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that appears when anything starts Ghostscript."""
    folder, mark = tmp_path / "bin", tmp_path / "ghostscript-was-here"
    folder.mkdir()
    (folder / "gs").write_text(f"#!/bin/sh\ntouch '{mark}'\n")
    (folder / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    # Pillow looks for it once, and remembers.
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return mark


@pytest.fixture
def disguised(tmp_path: Path) -> Path:
    path = tmp_path / "cat.jpg"
    path.write_bytes(EPS)
    return path


@pytest.mark.skipif(os.name == "nt", reason="the fake Ghostscript is a shell script")
def test_the_trap_snaps(mark: Path, disguised: Path) -> None:
    with Image.open(disguised) as image, pytest.raises(OSError):
        image.load()
    assert mark.exists()


@pytest.mark.parametrize("way", WAYS)
def test_an_eps_named_jpg_starts_nothing(mark: Path, disguised: Path, way: str) -> None:
    item = WAYS[way](disguised)
    with pytest.raises(UnsupportedImageError, match="EPS"):
        ImageEncoder(backend=ToyBackend()).encode([item])
    assert not mark.exists()
    if isinstance(item, Image.Image):
        item.close()


@pytest.mark.parametrize("name", ["EPS", "WMF", "IPTC"])
def test_a_format_that_starts_programs_can_not_be_allowed(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        ImageLoader(formats=("JPEG", name))
