"""Tar files as a source: which members are images, and what becomes of the others and of damage."""

from __future__ import annotations

import io
import os
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader
from clip_image_encoder.folder import FolderPlan, FolderSummary, embed_images, plan_images
from clip_image_encoder.sources import Selection, TarImages
from tests.units.sources.conftest import images, write_folder, write_tar

IMAGES = images(9)
GOOD = IMAGES["0000.png"]


def names_in(source: TarImages, **settings: Any) -> list[str]:
    return [name for name, _ in source.images(Selection(ImageLoader(), **settings))]


def test_the_image_of_a_sample_is_its_member_with_an_images_ending(encoder: ImageEncoder, tmp_path: Path) -> None:
    members = {"0001.jpg": IMAGES["0001.jpg"], "0001.txt": b"a cat", "0001.json": b"{}", "deep/0002.png": GOOD}
    source = TarImages(write_tar(tmp_path / "shard-000.tar", members))
    assert names_in(source) == ["shard-000.tar/0001.jpg", "shard-000.tar/deep/0002.png"]
    assert embed_images(source, tmp_path / "vectors.parquet", encoder) == FolderSummary(
        embedded=2, failed=0, skipped=0, left_out={".txt": 1, ".json": 1}
    )


def test_an_image_is_the_bytes_of_its_member(tmp_path: Path) -> None:
    source = TarImages(write_tar(tmp_path / "shard.tar", IMAGES))
    loader = ImageLoader()
    found = dict(source.images(Selection(loader)))
    for name, content in IMAGES.items():
        read = loader.read(found[f"shard.tar/{name}"])
        assert read.data == content  # type: ignore[union-attr]  # the content of a file object


def test_names_are_relative_to_the_folder_of_the_shards(tmp_path: Path) -> None:
    for folder in ("train", "valid"):
        (tmp_path / folder).mkdir()
        write_tar(tmp_path / folder / "000.tar", {"a.png": GOOD})
    write_folder(tmp_path, {"train/readme.txt": b""})
    both = ["train/000.tar/a.png", "valid/000.tar/a.png"]
    assert names_in(TarImages(tmp_path)) == both
    assert names_in(TarImages(f"{tmp_path}/*/000.tar")) == ["train/000.tar/a.png", "valid/000.tar/a.png"]
    assert names_in(TarImages(tmp_path / "train" / "000.tar")) == ["000.tar/a.png"]
    with pytest.raises(ConfigurationError, match=r"two files are called 000\.tar"):
        TarImages([tmp_path / "train" / "000.tar", tmp_path / "valid" / "000.tar"])


def test_content_tells_what_is_an_image_where_it_is_asked(tmp_path: Path) -> None:
    members = {"0001": GOOD, "0002.dat": IMAGES["0001.jpg"], "notes.png": b"a text"}
    place = write_tar(tmp_path / "shard.tar", members)
    assert names_in(TarImages(place)) == ["shard.tar/notes.png"]
    assert names_in(TarImages(place, by_content=True)) == ["shard.tar/0001", "shard.tar/0002.dat"]


def test_links_and_folders_are_no_images(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", {"a.png": GOOD})
    (tmp_path / "folder" / "link.png").symlink_to("a.png")
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        tar.add(tmp_path / "folder", ".")
    source = TarImages(tmp_path / "shard.tar")
    assert names_in(source) == ["shard.tar/a.png"]
    plan = plan_images(source, tmp_path / "vectors.parquet")
    assert plan == FolderPlan(new=1, done=0, left_out={".png": 1})


def test_a_shard_that_is_cut_short_gives_what_is_there_and_a_warning(encoder: ImageEncoder, tmp_path: Path) -> None:
    cut = write_tar(tmp_path / "0.tar", IMAGES)
    os.truncate(cut, 3 * 4096)
    write_tar(tmp_path / "1.tar", {"a.png": GOOD})
    with pytest.warns(UserWarning, match=r"the rest of 0\.tar is left out: unexpected end of data"):
        summary = embed_images(TarImages(tmp_path), tmp_path / "vectors.parquet", encoder)
    assert summary.embedded >= 2
    assert summary.failed == 1  # the image that is cut


def test_a_damaged_header_is_a_warning_and_no_end(tmp_path: Path) -> None:
    place = write_tar(tmp_path / "shard.tar", {"a.png": GOOD, "b.png": GOOD, "c.png": GOOD})
    data = bytearray(place.read_bytes())
    data[data.index(b"b.png") + 150] ^= 0xFF
    place.write_bytes(data)
    with pytest.warns(UserWarning, match=r"the rest of shard\.tar is left out: the header at byte [\d,]+ is damaged"):
        assert names_in(TarImages(place)) == ["shard.tar/a.png"]


@pytest.mark.parametrize("content", [b"", b"no tar file", bytes(5000), None])
def test_what_is_no_tar_file_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    place = tmp_path / "shard.tar"
    if content is None:
        with tarfile.open(place, "w:gz") as tar:
            tar.addfile(tarfile.TarInfo("a.png"), io.BytesIO())
    else:
        place.write_bytes(content)
    if content == bytes(5000):  # an archive without members
        assert names_in(TarImages(place)) == []
    else:
        with pytest.raises(ConfigurationError, match=r"shard\.tar is not a tar file, or is compressed"):
            names_in(TarImages(place))


@pytest.mark.parametrize("place", ["missing.tar", "none/*.tar", "empty"])
def test_a_place_without_tar_files_is_refused_by_name(place: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match=place.replace("*", r"\*")):
        TarImages(tmp_path / place)


def test_a_member_that_comes_again_has_one_row_and_is_told(encoder: ImageEncoder, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for content in (GOOD, IMAGES["0001.jpg"]):
            member = tarfile.TarInfo("a.png")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.warns(UserWarning, match="names that come again in the source: 1;"):
        summary = embed_images(TarImages(tmp_path / "shard.tar"), tmp_path / "vectors.parquet", encoder)
    assert summary == FolderSummary(embedded=1, failed=0, skipped=0)


def test_a_name_that_is_no_text_is_written_in_escapes(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "shard.tar", "w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        tar.addfile(tarfile.TarInfo(os.fsdecode(b"\xff.png")))
    assert names_in(TarImages(tmp_path / "shard.tar")) == ["shard.tar/\\xff.png"]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> AbstractFileSystem:
    """fsspec's file system in memory, where each opening has a position of its own, as in a real store."""
    open_shared = MemoryFileSystem._open

    def open_own(self: Any, path: str, mode: str = "rb", **settings: Any) -> Any:
        opened = open_shared(self, path, mode, **settings)
        return io.BytesIO(opened.getvalue()) if mode == "rb" else opened

    monkeypatch.setattr(MemoryFileSystem, "_open", open_own)
    return fsspec.filesystem("memory")


def test_an_archive_in_a_store_is_read_there(store: AbstractFileSystem, encoder: ImageEncoder, tmp_path: Path) -> None:
    store.pipe("/shards/000.tar", write_tar(tmp_path / "000.tar", IMAGES).read_bytes())
    summary = embed_images(TarImages("memory://shards"), tmp_path / "vectors.parquet", encoder)
    assert summary == FolderSummary(embedded=8, failed=1, skipped=0)


def test_members_are_neither_read_nor_kept_while_they_are_listed(tmp_path: Path) -> None:
    members = {f"{number:05d}.png": bytes(20_000) for number in range(500)}
    source = TarImages(write_tar(tmp_path / "shard.tar", members))
    tracemalloc.start()
    try:
        for _ in source.images(Selection(ImageLoader())):
            pass
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1_500_000  # of 10 MB


def test_parts_have_the_images_of_the_whole(tmp_path: Path) -> None:
    for shard in ("0.tar", "1.tar"):
        write_tar(tmp_path / shard, IMAGES)
    source = TarImages(tmp_path)
    parts = [name for part in source.parts() for name, _ in part.images(Selection(ImageLoader()))]
    assert parts == names_in(source)
    assert len(np.unique(parts)) == 2 * len(IMAGES)
