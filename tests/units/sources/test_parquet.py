"""Parquet files as a source: which column holds the images, how they are named, and what is read again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader
from clip_image_encoder.folder import FolderSummary, embed_images
from clip_image_encoder.sources import ParquetImages, Selection
from tests.units.sources.conftest import images, write_parquet

IMAGES = images(25)
GOOD = IMAGES["0000.png"]


def found_in(source: ParquetImages, **settings: Any) -> dict[str, Any]:
    return dict(source.images(Selection(ImageLoader(), **settings)))


@pytest.mark.parametrize("as_struct", [False, True])
def test_rows_are_named_by_the_file_and_their_number(as_struct: bool, tmp_path: Path) -> None:
    place = write_parquet(tmp_path / "train.parquet", IMAGES, as_struct=as_struct)
    assert found_in(ParquetImages(place)) == {
        f"train.parquet/{row}": content for row, content in enumerate(IMAGES.values())
    }


def test_a_column_of_names_names_them(tmp_path: Path) -> None:
    place = write_parquet(tmp_path / "train.parquet", IMAGES)
    assert found_in(ParquetImages(place, name_column="name")) == IMAGES


def test_another_column_of_images_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"thumbnail": pa.array([GOOD], pa.large_binary())}), tmp_path / "a.parquet")
    assert found_in(ParquetImages(tmp_path / "a.parquet", column="thumbnail")) == {"a.parquet/0": GOOD}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"column": "picture"}, "no column 'picture', but image, name, label"),
        ({"name_column": "id"}, "no column 'id'"),
        ({"column": "label"}, "'label' holds int64, and not the bytes of images"),
    ],
)
def test_a_wrong_column_is_refused_before_anything_is_done(
    settings: dict[str, str], problem: str, encoder: ImageEncoder, tmp_path: Path
) -> None:
    place = write_parquet(tmp_path / "train.parquet", IMAGES)
    with pytest.raises(ConfigurationError, match=problem):
        embed_images(ParquetImages(place, **settings), tmp_path / "vectors.parquet", encoder)
    assert not list((tmp_path / "vectors.parquet").iterdir())


def test_a_file_that_is_no_parquet_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(ConfigurationError, match=r"train\.parquet is damaged, or not a Parquet file"):
        found_in(ParquetImages(tmp_path / "train.parquet"))


def test_a_later_file_that_is_damaged_is_left_out_with_a_warning(tmp_path: Path) -> None:
    write_parquet(tmp_path / "0.parquet", {"a": GOOD})
    (tmp_path / "1.parquet").write_bytes(b"no parquet")
    write_parquet(tmp_path / "2.parquet", {"a": GOOD})
    with pytest.warns(UserWarning, match=r"the rest of 1\.parquet is left out"):
        assert set(found_in(ParquetImages(tmp_path))) == {"0.parquet/0", "2.parquet/0"}


def test_a_row_without_an_image_is_a_row_with_its_error(encoder: ImageEncoder, tmp_path: Path) -> None:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    column = pa.array([{"bytes": GOOD}, None, {"bytes": None, "path": "a.jpg"}], kind)
    pq.write_table(pa.table({"image": column}), tmp_path / "a.parquet")
    summary = embed_images(ParquetImages(tmp_path / "a.parquet"), tmp_path / "vectors.parquet", encoder)
    assert summary == FolderSummary(embedded=1, failed=2, skipped=0)
    errors = pq.read_table(tmp_path / "vectors.parquet").sort_by("path")["error"].to_pylist()
    assert errors == [None, "there is no data in it", "there is no data in it"]


@pytest.mark.parametrize("name_column", [None, "name"])
def test_groups_of_rows_that_are_done_are_not_read_again(
    name_column: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = ParquetImages(write_parquet(tmp_path / "train.parquet", IMAGES), name_column=name_column)
    names = list(found_in(source))
    read: list[int] = []
    whole = pq.ParquetFile.iter_batches

    def watched(self: Any, *arguments: Any, row_groups: list[int], **settings: Any) -> Any:
        read.extend(row_groups)
        return whole(self, *arguments, row_groups=row_groups, **settings)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", watched)
    assert list(found_in(source, done=set(names[:10] + names[20:24]))) == [*names[10:20], names[24]]
    assert read == [1, 2]


def test_counting_reads_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    selection = Selection(ImageLoader(), counts_only=True)
    assert not list(ParquetImages(write_parquet(tmp_path / "train.parquet", IMAGES)).images(selection))
    assert selection.new == 25


def test_parts_have_the_images_of_the_whole(tmp_path: Path) -> None:
    for file in ("0.parquet", "1.parquet"):
        write_parquet(tmp_path / file, IMAGES)
    source = ParquetImages(tmp_path)
    parts = {name for part in source.parts() for name, _ in part.images(Selection(ImageLoader()))}
    assert parts == set(found_in(source))
    assert len(parts) == 50
