"""A folder of images becomes Parquet: every image once, the bad ones with their errors."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clip_image_encoder import BackendError, ConfigurationError, ImageEncoder, ImageLoader
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.folder import FolderSummary, embed_folder
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend
from tests.units.kills import ends_of_kills

Gallery = Callable[[int], Path]


@pytest.fixture
def encoder() -> ImageEncoder:
    return ImageEncoder(backend=ToyBackend())


def names_of(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.suffix in (".JPG", ".png"))


def table_of(destination: Path) -> Any:
    return pq.read_table(destination).sort_by("path")


def test_every_image_has_the_encoders_vector(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    root = gallery(50)
    summary = embed_folder(root, tmp_path / "vectors.parquet", encoder, batch_size=8, rows_per_file=16)
    assert summary == FolderSummary(embedded=50, failed=0, skipped=0)
    table = table_of(tmp_path / "vectors.parquet")
    paths = table["path"].to_pylist()
    assert paths == names_of(root)
    expected = encoder.encode([root / path for path in paths])
    np.testing.assert_allclose(np.stack(table["embedding"].to_pylist()), expected, atol=1e-6)


def test_the_schema_is_what_databases_load(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    embed_folder(gallery(3), tmp_path / "vectors.parquet", encoder)
    schema = table_of(tmp_path / "vectors.parquet").schema
    assert schema.names == ["path", "embedding", "status", "error"]
    assert schema.field("embedding").type == pa.list_(pa.float32(), encoder.dimension)
    assert not schema.field("embedding").nullable
    assert schema.metadata[b"clip_image_encoder.fingerprint"] == encoder.fingerprint.encode()


def test_files_of_some_rows_are_one_row_group_each(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    embed_folder(gallery(50), tmp_path / "vectors.parquet", encoder, batch_size=8, rows_per_file=16)
    parts = [pq.ParquetFile(file).metadata for file in (tmp_path / "vectors.parquet").iterdir()]
    assert sorted(part.num_rows for part in parts) == [2, 16, 16, 16]
    assert {part.num_row_groups for part in parts} == {1}


def test_bad_images_are_listed_with_their_reason_in_files_of_their_own(
    gallery: Gallery, encoder: ImageEncoder, tmp_path: Path
) -> None:
    root = gallery(20)
    (root / "first" / "broken.jpg").write_bytes(b"\xff\xd8\xff cut short")
    (root / "empty.png").write_bytes(b"")
    summary = embed_folder(root, tmp_path / "vectors.parquet", encoder, batch_size=4, rows_per_file=8)
    assert summary == FolderSummary(embedded=20, failed=2, skipped=0)
    failed = [pq.read_table(file) for file in (tmp_path / "vectors.parquet").glob("failed-*.parquet")]
    rows = [row for table in failed for row in table.to_pylist()]
    assert sorted(row["path"] for row in rows) == ["empty.png", "first/broken.jpg"]
    assert all(row["error"] and np.isnan(row["embedding"]).all() for row in rows)
    # The same in every run, resumed or not, and on Ray: no place among the images of a call.
    assert {row["path"]: row["error"] for row in rows}["empty.png"] == "there is no data in it"
    good = [pq.read_table(file) for file in (tmp_path / "vectors.parquet").glob("ok-*.parquet")]
    assert sum(table.num_rows for table in good) == 20
    assert all(table["error"].null_count == table.num_rows for table in good)


def test_a_second_run_does_nothing(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    root = gallery(10)
    (root / "broken.png").write_bytes(b"broken")
    embed_folder(root, tmp_path / "vectors.parquet", encoder)
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "vectors.parquet").iterdir()}
    assert embed_folder(root, tmp_path / "vectors.parquet", encoder) == FolderSummary(embedded=0, failed=0, skipped=11)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "vectors.parquet").iterdir()} == before


def test_images_that_come_later_are_added(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    root = gallery(10)
    embed_folder(root, tmp_path / "vectors.parquet", encoder)
    Image.new("RGB", (9, 9)).save(root / "new.png")
    assert embed_folder(root, tmp_path / "vectors.parquet", encoder).embedded == 1
    assert "new.png" in table_of(tmp_path / "vectors.parquet")["path"].to_pylist()


def test_vectors_of_another_encoder_are_not_mixed_in(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    root = gallery(4)
    embed_folder(root, tmp_path / "vectors.parquet", encoder)
    other = ImageEncoder(backend=ToyBackend(), loader=ImageLoader(background=(0, 0, 0)))
    with pytest.raises(ConfigurationError, match="another encoder"):
        embed_folder(root, tmp_path / "vectors.parquet", other)


def test_parquet_of_something_else_is_not_touched(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "mine" / "table.parquet")
    with pytest.raises(ConfigurationError, match="another encoder"):
        embed_folder(gallery(2), tmp_path / "mine", encoder)
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["table.parquet"]


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_refused(name: str, encoder: ImageEncoder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="not a folder"):
        embed_folder(tmp_path / name, tmp_path / "vectors.parquet", encoder)


def test_an_empty_folder_gives_nothing(encoder: ImageEncoder, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    summary = embed_folder(tmp_path / "empty", tmp_path / "vectors.parquet", encoder)
    assert summary == FolderSummary(embedded=0, failed=0, skipped=0)


def test_what_was_done_before_a_device_fails_is_written(gallery: Gallery, tmp_path: Path) -> None:
    class Fails(ToyBackend):
        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            if len(pixels) < 4:
                raise OSError("the device is gone")
            return super().__call__(pixels, output=output, device=device)

    with pytest.raises(BackendError, match="device is gone"):
        embed_folder(
            gallery(10),
            tmp_path / "vectors.parquet",
            ImageEncoder(backend=Fails()),
            batch_size=4,
        )
    assert table_of(tmp_path / "vectors.parquet").num_rows == 8


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are no text")
def test_a_name_that_is_no_text_has_its_row(encoder: ImageEncoder, tmp_path: Path) -> None:
    (tmp_path / "gallery").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "gallery" / "picture.png")
    (tmp_path / "gallery" / "picture.png").rename(tmp_path / "gallery" / os.fsdecode(b"\xff.png"))
    assert embed_folder(tmp_path / "gallery", tmp_path / "vectors.parquet", encoder).embedded == 1
    assert embed_folder(tmp_path / "gallery", tmp_path / "vectors.parquet", encoder).skipped == 1
    assert table_of(tmp_path / "vectors.parquet")["path"].to_pylist() == ["\\xff.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="the length of a path is limited elsewhere in other ways")
def test_a_folder_that_can_not_be_listed_is_named(
    gallery: Gallery, encoder: ImageEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = gallery(4)
    monkeypatch.chdir(root)
    for _ in range(20):
        Path("x" * 250).mkdir()
        os.chdir("x" * 250)
    Image.new("RGB", (9, 9)).save("too-deep.png")
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="xxx is left out: File name too long"):
        summary = embed_folder(root, tmp_path / "vectors.parquet", encoder)
    assert summary == FolderSummary(embedded=4, failed=0, skipped=0)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor SIGKILL")
def test_killed_ten_times_every_image_is_there_exactly_once(
    gallery: Gallery, encoder: ImageEncoder, tmp_path: Path
) -> None:
    root = gallery(200)
    (root / "broken.png").write_bytes(b"broken")
    destination = tmp_path / "vectors.parquet"
    ends = ends_of_kills(
        "embed_folder(images, destination, encoder, batch_size=4, rows_per_file=8)", str(root), str(destination)
    )
    assert ends == ["-9"] * 10
    assert 0 < table_of(destination).num_rows < 201
    embed_folder(root, destination, encoder)
    table = table_of(destination)
    assert table["path"].to_pylist() == names_of(root)
    good = table.filter(pa.compute.equal(table["status"], "ok"))
    expected = encoder.encode([root / path for path in good["path"].to_pylist()])
    np.testing.assert_allclose(np.stack(good["embedding"].to_pylist()), expected, atol=1e-6)
    assert not list(destination.glob(".*"))
