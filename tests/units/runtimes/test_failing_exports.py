"""Exports that can't be written: an error with a sentence, and nothing is left."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.export import export
from tests.units.full_disk import no_file_longer_than

posix = pytest.mark.skipif(sys.platform == "win32", reason="it is about POSIX's limits and links")


@posix
def test_a_write_that_the_system_refuses_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    export("tiny-shapes", tmp_path / "first")  # makes the graphs
    with (
        no_file_longer_than(1_000_000),
        pytest.raises(ConfigurationError, match=r"has failed at .*vision.model\.onnx\.data: File too large"),
    ):
        export("tiny-shapes", tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("name", ["file/made", "n" * 300, "n" * 250, f"{'n' * 300}/made"])
def test_a_place_that_can_not_be_written_to_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"can't be written to: |the export has failed at "):
        export("tiny-shapes", tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_current_folder_is_refused_since_it_would_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (".", tmp_path):
        with pytest.raises(ConfigurationError, match="export to a folder in it"):
            export("tiny-shapes", name)


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    export("tiny-shapes", tmp_path / "made", texts=False)
    assert ImageEncoder(tmp_path / "made").dimension == 64


@posix
def test_an_empty_folder_is_filled_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "made").symlink_to("disk")
    export("tiny-shapes", tmp_path / "made", texts=False)
    assert (tmp_path / "made").is_symlink()
    assert ImageEncoder(tmp_path / "disk").dimension == 64
