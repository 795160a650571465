"""A folder of vectors is opened as one array: the right rows in order, mapped from a file if they are many."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.folder import embed_folder
from clip_image_encoder.parquet import EmbeddingFiles
from clip_image_encoder.stored_vectors import open_vectors
from clip_image_encoder.testing import ToyBackend
from tests.units.full_disk import no_file_longer_than
from tests.units.search.conftest import Store

COPIES = ".vectors-*.npy"


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few vectors are mapped, too."""
    monkeypatch.setattr("clip_image_encoder.stored_vectors._MAPPED_FROM", 1)


def test_the_rows_are_those_of_all_files_in_the_order_of_their_first_paths(store: Store, tmp_path: Path) -> None:
    second, first = store(["m.jpg", "n.jpg"], seed=1), store(["b.jpg", "c.jpg"], seed=2)
    stored = open_vectors(tmp_path / "vectors.parquet")
    assert stored.paths == ["b.jpg", "c.jpg", "m.jpg", "n.jpg"]
    np.testing.assert_array_equal(stored.vectors, np.concatenate([first, second]))
    assert (stored.fingerprint, stored.model, stored.space) == ("abc", "m", "s")


def test_failed_images_are_left_out(store: Store, tmp_path: Path) -> None:
    vectors = store(["a.jpg", "bad.jpg", "c.jpg"])
    stored = open_vectors(tmp_path / "vectors.parquet")
    assert stored.paths == ["a.jpg", "c.jpg"]
    np.testing.assert_array_equal(stored.vectors, vectors[[0, 2]])


def test_few_vectors_are_read_into_memory_and_no_file_is_written(store: Store, tmp_path: Path) -> None:
    store(["a.jpg"])
    stored = open_vectors(tmp_path / "vectors.parquet")
    assert not isinstance(stored.vectors, np.memmap)
    assert not list((tmp_path / "vectors.parquet").glob(".*"))


@pytest.mark.usefixtures("mapped")
def test_many_vectors_are_mapped_from_one_file_that_is_made_once(store: Store, tmp_path: Path) -> None:
    vectors = store(["a.jpg", "b.jpg"])
    folder = tmp_path / "vectors.parquet"
    first = open_vectors(folder)
    (copy,) = folder.glob(".*")
    made = copy.stat()
    again = open_vectors(folder)
    assert isinstance(first.vectors, np.memmap)
    assert isinstance(again.vectors, np.memmap)
    np.testing.assert_array_equal(again.vectors, vectors)
    assert copy.stat().st_mtime_ns == made.st_mtime_ns
    assert not again.vectors.flags.writeable


@pytest.mark.usefixtures("mapped")
def test_the_file_is_made_anew_after_images_are_added(store: Store, tmp_path: Path) -> None:
    old = store(["a.jpg"], seed=1)
    folder = tmp_path / "vectors.parquet"
    open_vectors(folder)
    new = store(["b.jpg"], seed=2)
    np.testing.assert_array_equal(open_vectors(folder).vectors, np.concatenate([old, new]))
    assert len(list(folder.glob(COPIES))) == 1


@pytest.mark.usefixtures("mapped")
def test_a_file_that_was_cut_short_is_made_anew(store: Store, tmp_path: Path) -> None:
    vectors = store(["a.jpg"])
    folder = tmp_path / "vectors.parquet"
    open_vectors(folder)
    (copy,) = folder.glob(COPIES)
    copy.write_bytes(copy.read_bytes()[:20])
    np.testing.assert_array_equal(open_vectors(folder).vectors, vectors)


@pytest.mark.usefixtures("mapped")
def test_while_a_job_writes_to_the_folder_vectors_are_read_into_memory(store: Store, tmp_path: Path) -> None:
    vectors = store(["a.jpg"])
    folder = tmp_path / "vectors.parquet"
    with EmbeddingFiles.at(folder).locked():
        stored = open_vectors(folder)
    np.testing.assert_array_equal(stored.vectors, vectors)
    assert not list(folder.glob(COPIES))


@pytest.mark.usefixtures("mapped")
@pytest.mark.skipif(sys.platform == "win32", reason="it takes POSIX's limits")
def test_on_a_full_disk_vectors_are_read_into_memory(store: Store, tmp_path: Path) -> None:
    vectors = store(["a.jpg"])
    folder = tmp_path / "vectors.parquet"
    with no_file_longer_than(100):
        stored = open_vectors(folder)
    np.testing.assert_array_equal(stored.vectors, vectors)
    assert not list(folder.glob(".*"))


@pytest.mark.usefixtures("mapped")
def test_vectors_at_a_url_are_read_into_memory(store: Store, tmp_path: Path) -> None:
    vectors = store(["a.jpg"], folder="local")
    table = EmbeddingFiles.at(tmp_path / "local").read(next((tmp_path / "local").iterdir()).name)
    EmbeddingFiles.at("memory://stored/vectors").add(table, key="path")
    np.testing.assert_array_equal(open_vectors("memory://stored/vectors").vectors, vectors)


@pytest.mark.usefixtures("mapped")
def test_a_job_goes_on_beside_the_mapped_file(tmp_path: Path) -> None:
    encoder = ImageEncoder(backend=ToyBackend())
    photos, folder = tmp_path / "photos", tmp_path / "vectors.parquet"
    photos.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), "red").save(photos / name)
        embed_folder(photos, folder, encoder)
        stored = open_vectors(folder)
    assert stored.paths == ["a.png", "b.png"]
    assert stored.fingerprint == encoder.fingerprint
    assert pq.read_table(folder).num_rows == 2


def test_a_folder_without_vectors_is_refused(tmp_path: Path, store: Store) -> None:
    store(["bad.jpg"], folder="failed")
    for folder in ("failed", "missing"):
        with pytest.raises(ConfigurationError, match=f"{folder} holds no vectors"):
            open_vectors(tmp_path / folder)


def test_vectors_of_two_encoders_are_refused(tmp_path: Path, store: Store) -> None:
    store(["a.jpg"])
    store(["b.jpg"], fingerprint="def")
    with pytest.raises(ConfigurationError, match="vectors of 2 encoders"):
        open_vectors(tmp_path / "vectors.parquet")


def test_a_file_of_something_else_is_named(tmp_path: Path, store: Store) -> None:
    store(["a.jpg"])
    table = EmbeddingFiles.at(tmp_path / "vectors.parquet")
    pq.write_table(
        table.read(table.names()[0]).replace_schema_metadata(None), tmp_path / "vectors.parquet/mine.parquet"
    )
    with pytest.raises(ConfigurationError, match=r"mine\.parquet was not written by embed_folder"):
        open_vectors(tmp_path / "vectors.parquet")


def test_vectors_that_were_written_before_models_were_stored_open(tmp_path: Path, store: Store) -> None:
    store(["a.jpg"])
    files = EmbeddingFiles.at(tmp_path / "vectors.parquet")
    (name,) = files.names()
    old = files.read(name).replace_schema_metadata({b"clip_image_encoder.fingerprint": b"abc"})
    pq.write_table(old, tmp_path / "vectors.parquet" / name)
    stored = open_vectors(tmp_path / "vectors.parquet")
    assert (stored.fingerprint, stored.model, stored.space) == ("abc", None, None)
    store(["b.jpg"])
    assert open_vectors(tmp_path / "vectors.parquet").space == "s"
