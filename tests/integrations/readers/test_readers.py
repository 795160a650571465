"""DuckDB and polars read a folder of vectors as the page says, also while a job writes to it or was killed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from clip_image_encoder import ImageEncoder
from clip_image_encoder.folder import embed_folder
from clip_image_encoder.parquet import EmbeddingFiles
from tests.integrations.pages import DOCS, code_blocks

PAGE = "how-to/million-images.md"


@pytest.fixture
def folder(gallery: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Vectors of ten drawings, in a folder that a job holds, with a file that it has not finished."""
    monkeypatch.chdir(tmp_path)
    destination = tmp_path / "vectors.parquet"
    embed_folder(gallery["a red star"].parent, destination, ImageEncoder("tiny-shapes"), rows_per_file=3, batch_size=3)
    files = EmbeddingFiles.at(destination)
    with files.locked():
        (destination / ".unfinished-ok-0123").write_bytes(b"PAR1 cut short")
        yield destination


def test_duckdb_finds_the_nearest_images_as_the_page_says(folder: Path) -> None:
    create, search = code_blocks(PAGE, "sql")
    with duckdb.connect() as connection:
        connection.execute(create)
        assert connection.execute("SELECT count(*) FROM pictures").fetchall() == [(10,)]
        found = connection.execute(search).fetchall()
    assert found[0][0] == "blue-circle.png"
    assert found[0][1] == pytest.approx(0, abs=1e-6)
    assert len(found) == 10


def test_polars_reads_what_the_page_says(folder: Path) -> None:
    (place,) = re.findall(r'pl\.read_parquet\("(.+?)"\)', (DOCS / PAGE).read_text("utf-8"))
    table = pl.read_parquet(place)
    assert table.height == 10
    assert table["embedding"].to_numpy().shape == (10, 64)
