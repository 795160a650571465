"""clip-image-encoder encode FOLDER -o vectors.parquet."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_image_encoder.__main__ import main
from tests.units.full_disk import no_file_longer_than

Gallery = Callable[[int], Path]


def test_it_writes_the_vectors_of_a_folder_and_says_what_it_did(gallery: Gallery, tmp_path: Path) -> None:
    root = gallery(6)
    (root / "broken.png").write_bytes(b"broken")
    command = [sys.executable, "-m", "clip_image_encoder", "encode", str(root), "-o", "vectors.parquet"]
    command += ["--model", "tiny-shapes"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "6 embedded, 1 failed, 0 written before: vectors.parquet\n"
    assert pq.read_table(tmp_path / "vectors.parquet").num_rows == 7


def test_vectors_are_the_same_where_files_are_decoded_in_processes(gallery: Gallery, tmp_path: Path) -> None:
    root, tables = gallery(5), []
    for load_in in ("threads", "processes"):
        assert encode(root, tmp_path / load_in, "--load-in", load_in, "--num-workers", "2") == 0
        tables.append(pq.read_table(tmp_path / load_in / "vectors.parquet"))
    assert tables[0].num_rows == 5
    assert tables[0].equals(tables[1])


def test_the_last_line_counts_what_is_left_out_by_its_ending(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = gallery(2)
    for name in ("a.heic~", "b.heic~", "notes.txt", "IMG_1", ".hidden.txt"):
        (root / name).write_text("")
    assert encode(root, tmp_path) == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"2 embedded, 0 failed, 0 written before: {tmp_path}/vectors.parquet",
        "left out: 2 .heic~, 1 .txt, 1 without an ending",
    ]


def test_a_dry_run_counts_what_would_be_done_without_a_model(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = gallery(3)
    assert encode(root, tmp_path) == 0
    (root / "new.png").write_text("")
    (root / "notes.txt").write_text("")
    before = sorted(tmp_path.rglob("*"))
    capsys.readouterr()
    assert encode(root, tmp_path, "--dry-run", model="no such model") == 0
    assert capsys.readouterr().out == f"1 new, 3 written before: {tmp_path}/vectors.parquet\nleft out: 1 .txt\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_the_formats_that_are_read_can_be_named(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert encode(gallery(6), tmp_path, "--formats", "png,gif", "--dry-run") == 0
    assert capsys.readouterr().out == f"2 new, 0 written before: {tmp_path}/vectors.parquet\nleft out: 4 .jpg\n"
    assert encode(gallery(6), tmp_path, "--formats", "tiff,nosuch") == 1
    assert "formats: NOSUCH" in capsys.readouterr().err


def test_files_are_judged_by_their_content_where_it_is_asked(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = gallery(3)
    (root / "second" / "deep" / "0000.png").rename(root / "IMG_0000")
    (root / "text.png").write_text("a text")
    assert encode(root, tmp_path, "--all") == 0
    assert capsys.readouterr().out.splitlines()[1] == "left out: 1 .png"
    paths = pq.read_table(tmp_path / "vectors.parquet")["path"].to_pylist()
    assert sorted(paths) == ["IMG_0000", "first/0001.JPG", "second/deep/0002.JPG"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_judging_by_content_does_not_wait_for_a_pipe(gallery: Gallery, tmp_path: Path) -> None:
    root = gallery(1)
    os.mkfifo(root / "pipe")
    assert encode(root, tmp_path, "--all") == 0
    assert pq.read_table(tmp_path / "vectors.parquet").num_rows == 1


def test_raw_photos_are_found_by_their_endings_where_they_are_read(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = gallery(1)
    (root / "photo.CR2").write_text("")
    for arguments, said in (([], "1 new"), (["--raw-photos", "develop"], "2 new")):
        assert encode(root, tmp_path, "--dry-run", *arguments) == 0
        assert capsys.readouterr().out.startswith(said)


def test_what_is_encoded_is_told_by_its_ending(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = gallery(2)
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(root, ".")
    (tmp_path / "list.csv").write_text("name,image\na,gallery/first/0001.JPG\nb,https://example.com/a.jpg\n")
    pq.write_table(pa.table({"thumbnail": [b"", b""], "id": [7, 8]}), tmp_path / "a.parquet")
    for arguments, said in (
        ([root], "2 new"),
        ([tmp_path / "shard.tar"], "2 new"),
        ([tmp_path / "list.csv", "--allow-urls"], "2 new"),
        ([tmp_path / "a.parquet", "--column", "thumbnail", "--name-column", "id"], "2 new"),
    ):
        assert encode(arguments[0], tmp_path, *arguments[1:], "--dry-run") == 0
        assert capsys.readouterr().out.startswith(said)


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        (["a.tar", "b.parquet"], "several files that are all .tar or all .parquet"),
        (["a.txt", "b.txt"], "one list"),
        (["a.tar.gz"], "a.tar.gz is compressed; decompress it"),
        ([".", "--column", "image"], "is for Parquet files, .csv and .tsv"),
        (["a.tar", "--name-column", "id"], "for Parquet files only"),
        (["a.parquet", "--all"], "only files in folders and tar files"),
    ],
)
def test_sources_that_do_not_fit_are_one_line(
    sources: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["encode", *sources, "-o", str(tmp_path / "vectors.parquet")]) == 1
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


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

    monkeypatch.setattr("clip_image_encoder.folder.embed_images", fails)
    assert failing(gallery(1), "s3://bucket/vectors", capsys) == "error: s3://bucket/vectors: the bucket is gone\n"


def test_failed_images_are_tried_again_when_asked(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = gallery(2)
    (root / "broken.png").write_bytes(b"broken")
    command = ["encode", str(root), "-o", str(tmp_path / "vectors.parquet"), "--model", "tiny-shapes"]
    for arguments, said in (([], "2 embedded, 1 failed, 0"), (["--retry-failed"], "0 embedded, 1 failed, 2")):
        assert main([*command, *arguments]) == 0
        assert said in capsys.readouterr().out


def encode(source: object, folder: Path, *arguments: object, model: str = "tiny-shapes") -> int:
    """Run the command on a source with a destination in the folder, and return its exit status."""
    options = ["-o", folder / "vectors.parquet", "--model", model, *arguments]
    return main(list(map(str, ["encode", source, *options])))


def failing(root: Path, output: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that the command says before it ends with 1."""
    assert main(["encode", str(root), "-o", output, "--model", "tiny-shapes"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error
