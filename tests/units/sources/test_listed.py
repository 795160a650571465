"""A list of paths and URLs as a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, UrlPolicy
from clip_image_encoder.folder import FolderSummary, embed_images
from clip_image_encoder.sources import ListedImages, Selection
from tests.units.sources.conftest import images, write_folder

IMAGES = images(9)
READS_URLS = ImageLoader(urls=UrlPolicy())


def found_in(source: ListedImages, loader: ImageLoader | None = None) -> dict[str, Any]:
    return dict(source.images(Selection(loader or ImageLoader())))


def write(place: Path, text: str, encoding: str = "utf-8") -> Path:
    place.write_bytes(text.encode(encoding))
    return place


def test_relative_paths_start_from_the_folder_of_the_list(tmp_path: Path) -> None:
    place = write(tmp_path / "list.txt", f"photos/a.jpg\n\n{tmp_path}/b.jpg\r\nphotos/é .png\n")
    assert found_in(ListedImages(place)) == {
        "photos/a.jpg": tmp_path / "photos" / "a.jpg",
        f"{tmp_path}/b.jpg": tmp_path / "b.jpg",
        "photos/é .png": tmp_path / "photos" / "é .png",
    }


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("list.csv", 'label,path\n1,a.jpg\n2,"b, c.jpg"\n', {}),
        ("list.csv", '\ufefflabel,file\n1,a.jpg\n2,"b, c.jpg"\n3\n4,\n', {"column": "file"}),
        ("list.tsv", "label\timage\n1\ta.jpg\n2\tb, c.jpg\n", {}),
    ],
)
def test_a_column_of_a_table_is_the_list(name: str, text: str, settings: dict[str, str], tmp_path: Path) -> None:
    assert list(found_in(ListedImages(write(tmp_path / name, text), **settings))) == ["a.jpg", "b, c.jpg"]


@pytest.mark.parametrize(
    ("name", "text", "settings", "problem"),
    [
        ("list.csv", "label,file\n", {}, "no column path, url or image, but label, file"),
        ("list.csv", "path\n", {"column": "file"}, "no column 'file', but path"),
        ("list.csv", "", {}, "no column path, url or image, but none"),
        ("list.txt", "a.jpg\n", {"column": "path"}, "only a .csv or .tsv has a column"),
        ("list.txt", "s3://bucket/a.jpg\n", {}, "s3:// is no scheme that is read"),
        (
            "list.txt",
            "https://u:secret@example.com/a.jpg?key=1\n",
            {},
            r"such as https://example.com/a.jpg, which",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_done(
    name: str, text: str, settings: dict[str, str], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        found_in(ListedImages(write(tmp_path / name, text), **settings))


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a list in UTF-8"):
        found_in(ListedImages(write(tmp_path / "list.txt", "é.jpg", "latin-1")))
    with pytest.raises(ConfigurationError, match="no such list"):
        ListedImages(tmp_path / "missing.txt")


def test_urls_are_read_where_the_loader_allows_them(tmp_path: Path) -> None:
    place = write(tmp_path / "list.txt", "https://example.com/a.jpg\nb.jpg\n")
    assert found_in(ListedImages(place), READS_URLS) == {
        "https://example.com/a.jpg": "https://example.com/a.jpg",
        "b.jpg": tmp_path / "b.jpg",
    }


def test_a_line_is_never_data_itself(tmp_path: Path) -> None:
    place = write(tmp_path / "list.txt", "data:image/png;base64,AAAA\n")
    assert found_in(ListedImages(place)) == {"data:image/png;base64,AAAA": tmp_path / "data:image/png;base64,AAAA"}


def test_a_path_that_is_listed_again_is_one_row_and_what_is_missing_is_a_row(
    encoder: ImageEncoder, tmp_path: Path
) -> None:
    write_folder(tmp_path, IMAGES)
    place = write(tmp_path / "list.txt", "0000.png\nmissing.png\n0000.png\n")
    with pytest.warns(UserWarning, match="names that come again in the source: 1;"):
        summary = embed_images(ListedImages(place), tmp_path / "vectors.parquet", encoder)
    assert summary == FolderSummary(embedded=1, failed=1, skipped=0)


def test_what_has_failed_is_tried_again_where_it_is_asked(encoder: ImageEncoder, tmp_path: Path) -> None:
    source = ListedImages(write(tmp_path / "list.txt", "0000.png\n0001.jpg\n"))
    write_folder(tmp_path, {"0000.png": IMAGES["0000.png"]})
    embed_images(source, tmp_path / "vectors.parquet", encoder)
    write_folder(tmp_path, {"0001.jpg": IMAGES["0001.jpg"]})
    again = embed_images(source, tmp_path / "vectors.parquet", encoder, retry_failed=True)
    assert again == FolderSummary(embedded=1, failed=0, skipped=1)
