"""Which files below a folder are its images, under which names, and what is said of the others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import fsspec
import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.folder import FolderSummary, embed_folder, list_images
from clip_image_encoder.images.formats import DEFAULT_FORMATS
from clip_image_encoder.images.listing import images_below, path_of
from clip_image_encoder.testing import ToyBackend

needs_bytes = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are no text")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def picture(file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 9)).save(file, "PNG")
    return file


def names_below(root: Path) -> list[str]:
    return images_below(root, DEFAULT_FORMATS)


def test_a_linked_folder_is_searched_as_if_it_were_there(root: Path, tmp_path: Path) -> None:
    picture(tmp_path / "another disk" / "deep" / "a.png")
    (root / "linked").symlink_to(tmp_path / "another disk")
    (name,) = names_below(root)
    assert name == "linked/deep/a.png"
    assert path_of(root, name).is_file()


def test_two_links_to_one_folder_are_two_folders(root: Path, tmp_path: Path) -> None:
    picture(tmp_path / "album" / "a.png")
    for name in ("first", "second"):
        (root / name).symlink_to(tmp_path / "album")
    assert names_below(root) == ["first/a.png", "second/a.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "/"])
def test_a_link_back_to_a_folder_around_it_is_left_out_and_named(target: str, root: Path) -> None:
    picture(root / "album" / "a.png")
    (root / "album" / "back").symlink_to(target)
    with pytest.warns(UserWarning, match=r"1 link .*album/back") as warned:
        assert names_below(root) == ["album/a.png"]
    assert len(warned) == 1


def test_a_circle_that_leaves_the_folder_ends(root: Path, tmp_path: Path) -> None:
    picture(tmp_path / "outside" / "a.png")
    (root / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "in").symlink_to(root)
    with pytest.warns(UserWarning, match=r"1 link .*out/in"):
        assert names_below(root) == ["out/a.png"]


def test_files_that_do_not_end_as_images_are_counted_in_one_warning(root: Path) -> None:
    picture(root / "a.png")
    for name in ("b.xcf", "deep/c.XCF", "notes.txt", "IMG_0001"):
        picture(root / name)
    with pytest.warns(UserWarning, match=r"4 files .*: 2 \.xcf, 1 \.txt, 1 without an ending") as warned:
        assert names_below(root) == ["a.png"]
    assert len(warned) == 1


@pytest.mark.parametrize("name", [".DS_Store", ".git/config", "deep/.git/objects/pack"])
def test_hidden_files_are_left_out_without_a_word(name: str, root: Path) -> None:
    picture(root / name)
    assert names_below(root) == []


def test_results_in_the_folder_itself_are_no_files_of_its_own(root: Path) -> None:
    picture(root / "a.png")
    encoder = ImageEncoder(backend=ToyBackend())
    embed_folder(root, root / "vectors.parquet", encoder)
    assert embed_folder(root, root / "vectors.parquet", encoder) == FolderSummary(embedded=0, failed=0, skipped=1)


@needs_bytes
def test_every_name_is_one_of_its_own(root: Path) -> None:
    file = picture(root / "a.png")
    names = [b"\xff", b"\xfe", rb"\xff", rb"\x5cxff", rb"\x5c", b"\\\xff", rb"\\xff", rb"\xFF", rb"a\b", "é".encode()]
    for name in names:
        os.link(file, os.path.join(os.fsencode(root), name + b".png"))  # noqa: PTH118 - Path takes no bytes
    file.unlink()
    found = names_below(root)
    assert len(set(found)) == len(names)
    assert {os.fsencode(path_of(root, name).name) for name in found} == {name + b".png" for name in names}


@needs_bytes
@pytest.mark.parametrize("name", ["a.png", "é.png", r"a\b.png", r"\xFF.png", r"\x41.png", r"\n.png"])
def test_a_name_that_is_text_is_kept_as_it_is(name: str, root: Path) -> None:
    picture(root / name)
    assert names_below(root) == [name]


def test_the_images_of_another_file_system_are_listed_below_its_folder() -> None:
    filesystem = fsspec.filesystem("memory")
    for name in ("b.png", "deep/a.jpg", "notes.txt"):
        filesystem.pipe(f"/listing/{name}", b"")
    with pytest.warns(UserWarning, match=r"1 file is left out in memory://listing.*1 \.txt"):
        assert list_images("memory://listing", DEFAULT_FORMATS) == ["b.png", "deep/a.jpg"]


@pytest.mark.parametrize("place", ["", "local://"])
def test_a_file_is_no_folder_of_images(place: str, root: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"a\.png is not a folder"):
        list_images(f"{place}{picture(root / 'a.png')}", DEFAULT_FORMATS)
