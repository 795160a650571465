"""DiskCache where its file, its folder or its limit are not what they should be."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clip_image_encoder import ConfigurationError
from clip_image_encoder.cache import DiskCache

VECTOR = np.arange(4, dtype=np.float32)


def put_in_time(cache: DiskCache) -> bool:
    # A daemon: a call that never returns is not to keep the tests from ending.
    thread = threading.Thread(target=cache.put, args=({b"key": VECTOR},), daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def test_a_limit_below_an_empty_file_keeps_nothing_and_says_so_by_no_endless_call(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "vectors.sqlite", max_bytes=100)
    assert put_in_time(cache)
    assert cache.get([b"key"]) == {}


def test_another_table_in_the_file_may_be_larger_than_the_limit(tmp_path: Path) -> None:
    file = tmp_path / "vectors.sqlite"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE notes (text TEXT)")
        database.execute("INSERT INTO notes VALUES (?)", ("x" * 100_000,))
    database.close()
    cache = DiskCache(file, max_bytes=50_000)
    assert put_in_time(cache)
    assert cache.get([b"key"]) == {}


def test_it_stays_the_same_file_when_the_program_changes_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cache = DiskCache("vectors.sqlite")
    cache.put({b"key": VECTOR})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(cache.get([b"key"])[b"key"], VECTOR)
    assert not any(Path().iterdir())


@pytest.fixture
def prefilled() -> Iterator[Path]:
    """A cache that may be read and not written, in a folder of which the same is true."""
    if not hasattr(os, "geteuid"):
        pytest.skip("this system has no permissions that a test can take away")
    # Not in tmp_path, which is its user's own: root is to become another user, whom permissions hold for.
    folder = Path(tempfile.mkdtemp())
    file = folder / "vectors?.sqlite"
    DiskCache(file).put({b"key": VECTOR})
    file.chmod(0o444)
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield file
    os.seteuid(user)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_prefilled_cache_on_a_read_only_disk_is_read_and_nothing_is_added(prefilled: Path) -> None:
    cache = DiskCache(prefilled)
    cache.put({b"other": VECTOR})
    found = cache.get([b"key", b"other"])
    np.testing.assert_array_equal(found.pop(b"key"), VECTOR)
    assert found == {}
    assert [file.name for file in prefilled.parent.iterdir()] == [prefilled.name]


def test_a_link_to_a_cache_on_a_read_only_disk_is_read(prefilled: Path) -> None:
    link = Path(tempfile.mkdtemp()) / "link.sqlite"
    try:
        link.symlink_to(prefilled)
        assert list(DiskCache(link).get([b"key"])) == [b"key"]
    finally:
        shutil.rmtree(link.parent)


def test_on_a_read_only_disk_no_cache_can_be_made(prefilled: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"other\.sqlite can't be used as a cache"):
        DiskCache(prefilled.parent / "other.sqlite")
