"""clip-image-encoder encode FOLDER -o vectors.parquet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clip_image_encoder.__main__ import main
from tests.full_disk import no_file_longer_than

Gallery = Callable[[int], Path]


def test_it_writes_the_vectors_of_a_folder_and_says_what_it_did(gallery: Gallery, tmp_path: Path) -> None:
    root = gallery(6)
    (root / "broken.png").write_bytes(b"broken")
    command = [sys.executable, "-m", "clip_image_encoder", "encode", str(root), "-o", "vectors.parquet"]
    command += ["--model", "tiny-shapes"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "6 embedded, 1 failed, 0 written before: vectors.parquet\n"
    assert pq.read_table(tmp_path / "vectors.parquet").num_rows == 7


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["missing", "--model", "tiny-shapes"], "not a folder"),
        ([".", "--model", "tiny-shapes", "--backend", "nosuch"], "no backend 'nosuch'"),
        ([".", "--model", "tiny-shapes", "--dtype", "floaty"], "no dtype 'floaty'"),
        ([".", "--model", "./nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encode", *arguments, "-o", "vectors.parquet"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert problem in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("below", ["", "/deeper/vectors.parquet"])
def test_an_output_that_is_a_file_is_one_line(
    below: str, gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    problem = failing(gallery(2), f"{tmp_path}/file{below}", capsys)
    assert "file" in problem
    assert "folder" in problem or "can't be written to" in problem
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no folder is known that nobody can write to")
def test_an_output_that_can_not_be_written_to_is_one_line(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    assert "/sys/vectors.parquet can't be written to" in failing(gallery(2), "/sys/vectors.parquet", capsys)


@pytest.mark.skipif(sys.platform == "win32", reason="it takes POSIX's limits")
def test_a_full_disk_is_one_line(gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = gallery(2)
    with no_file_longer_than(100):
        problem = failing(root, str(tmp_path / "vectors.parquet"), capsys)
    assert "vectors.parquet" in problem
    assert "File too large" in problem


def test_an_error_that_names_no_file_is_told_with_the_output(
    gallery: Gallery, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **settings: object) -> None:
        raise OSError("the bucket is gone")

    monkeypatch.setattr("clip_image_encoder.folder.embed_folder", fails)
    assert failing(gallery(1), "s3://bucket/vectors", capsys) == "error: s3://bucket/vectors: the bucket is gone\n"


def test_failed_pictures_are_tried_again_when_asked(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = gallery(2)
    (root / "broken.png").write_bytes(b"broken")
    command = ["encode", str(root), "-o", str(tmp_path / "vectors.parquet"), "--model", "tiny-shapes"]
    for arguments, said in (([], "2 embedded, 1 failed, 0"), (["--retry-failed"], "0 embedded, 1 failed, 2")):
        assert main([*command, *arguments]) == 0
        assert said in capsys.readouterr().out


def failing(root: Path, output: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that the command says before it ends with 1."""
    assert main(["encode", str(root), "-o", output, "--model", "tiny-shapes"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error
