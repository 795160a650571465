"""What lies among the results: unfinished files, damaged ones, and rows of images that failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.folder import FolderSummary, embed_folder
from clip_image_encoder.parquet import EmbeddingFiles, embeddings_table
from clip_image_encoder.testing import ToyBackend

Gallery = Callable[[int], Path]


@pytest.fixture
def encoder() -> ImageEncoder:
    return ImageEncoder(backend=ToyBackend())


def statuses(destination: Path) -> dict[str, str]:
    table = pq.read_table(destination)
    rows = list(zip(table["path"].to_pylist(), table["status"].to_pylist(), strict=True))
    assert len(dict(rows)) == len(rows), "a path is there twice"
    return dict(rows)


def test_no_glob_finds_a_file_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    write_table = pq.write_table

    def look(table: pa.Table, stream: pa.NativeFile) -> None:
        found.extend(file.name for file in tmp_path.iterdir())
        write_table(table, stream)

    monkeypatch.setattr(pq, "write_table", look)
    table = embeddings_table({"path": ["a"]}, np.ones((1, 2), np.float32), [None], fingerprint="abc")
    EmbeddingFiles.at(tmp_path).add(table, key="path")
    (name,) = found
    assert name.startswith(".")  # pyarrow passes over it
    assert not name.endswith(".parquet")  # polars and duckdb do


@pytest.mark.parametrize("name", [".unfinished-ok-0123.parquet", ".unfinished-ok-0123-4567"])
def test_what_a_killed_job_has_left_is_removed(
    name: str, gallery: Gallery, encoder: ImageEncoder, tmp_path: Path
) -> None:
    destination = tmp_path / "vectors.parquet"
    destination.mkdir()
    (destination / name).write_bytes(b"PAR1 cut short")
    embed_folder(gallery(2), destination, encoder)
    assert not list(destination.glob(".*"))


@pytest.mark.parametrize("content", [b"", b"PAR1 cut short", b"PAR1" + bytes(40) + b"\x10\0\0\0PAR1"])
def test_a_damaged_file_is_named_with_what_to_do(
    content: bytes, gallery: Gallery, encoder: ImageEncoder, tmp_path: Path
) -> None:
    root, destination = gallery(4), tmp_path / "vectors.parquet"
    embed_folder(root, destination, encoder)
    (file,) = destination.iterdir()
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"{file.name} is damaged.*delete it") as raised:
        embed_folder(root, destination, encoder)
    assert "\n" not in str(raised.value)
    file.unlink()
    assert embed_folder(root, destination, encoder).embedded == 4


def test_a_file_whose_rows_have_no_path_is_named(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    table = embeddings_table({"id": [7]}, np.ones((1, 2), np.float32), [None], fingerprint=encoder.fingerprint)
    EmbeddingFiles.at(tmp_path / "mine").add(table, key="id")
    with pytest.raises(ConfigurationError, match=r"ok-.*\.parquet has no column 'path'"):
        embed_folder(gallery(2), tmp_path / "mine", encoder)


def test_images_that_failed_are_tried_again_when_asked(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    root, destination = gallery(6), tmp_path / "vectors.parquet"
    for name in ("late.png", "broken.png"):
        (root / name).write_bytes(b"")
    embed_folder(root, destination, encoder)
    Image.new("RGB", (9, 9)).save(root / "late.png")
    assert embed_folder(root, destination, encoder) == FolderSummary(embedded=0, failed=0, skipped=8)
    again = embed_folder(root, destination, encoder, retry_failed=True)
    assert again == FolderSummary(embedded=1, failed=1, skipped=6)
    assert statuses(destination)["late.png"] == "ok"
    assert statuses(destination)["broken.png"] == "failed"
    assert len(statuses(destination)) == 8


def test_rows_of_images_that_are_gone_stay_when_others_are_tried_again(
    gallery: Gallery, encoder: ImageEncoder, tmp_path: Path
) -> None:
    root, destination = gallery(2), tmp_path / "vectors.parquet"
    for name in ("gone.png", "broken.png"):
        (root / name).write_bytes(b"")
    embed_folder(root, destination, encoder)
    (root / "gone.png").unlink()
    assert embed_folder(root, destination, encoder, retry_failed=True).failed == 1
    assert statuses(destination)["gone.png"] == "failed"
    assert len(statuses(destination)) == 4


def test_a_retry_that_is_cut_short_loses_no_image(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    root, destination = gallery(2), tmp_path / "vectors.parquet"
    (root / "late.png").write_bytes(b"")
    embed_folder(root, destination, encoder)
    Image.new("RGB", (9, 9)).save(root / "late.png")
    files = EmbeddingFiles.at(destination)
    assert files.remove_failed("path", {"late.png", "unknown.png"}) == {"late.png"}
    assert embed_folder(root, destination, encoder).embedded == 1
    assert statuses(destination)["late.png"] == "ok"
