"""A cache in an SQLite file."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_image_encoder._arguments import check_count
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ConfigurationError

__all__ = ["DiskCache"]


@dataclass(frozen=True)
class DiskCache:
    """Vectors in an SQLite file, which several threads and processes of one machine may share.

    What was written longest ago is dropped first. Files on a network are not for SQLite. A file that this
    process may not write, as on a read-only disk, is looked into, and nothing is added to it.

    Args:
        file: path of the cache, which is made if it is not there; kept as an absolute path.
        max_bytes: size of the file, at most; SQLite's journal beside it takes some megabytes more. Where an
            empty file is larger, some 12,000 bytes, nothing is kept.

    Raises:
        ConfigurationError: the file can't be opened, or is something else.
        sqlite3.Error: later, at a call: it can't be read or written any more, for a full disk for example.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from clip_image_encoder.cache import DiskCache
        >>> cache = DiskCache(tempfile.mkdtemp() + "/vectors.sqlite", max_bytes=1_000_000)
        >>> cache.put({b"key": np.ones(3, np.float32)})
        >>> cache.get([b"key", b"other"])
        {b'key': array([1., 1., 1.], dtype=float32)}
    """

    file: str | os.PathLike[str]
    max_bytes: int = 4_000_000_000

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_bytes", check_count(self.max_bytes, name="max_bytes"))
        # The program may change its working directory later.
        object.__setattr__(self, "file", Path(self.file).absolute())
        try:
            with closing(self._open()) as database, database:
                if _is_read_only(Path(self.file)):
                    database.execute("SELECT 1 FROM embeddings LIMIT 1")
                    return
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("CREATE TABLE IF NOT EXISTS embeddings (key BLOB PRIMARY KEY, vector BLOB NOT NULL)")
        except sqlite3.Error as error:
            raise ConfigurationError(f"{Path(self.file)} can't be used as a cache: {error}") from error

    def get(self, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
        """Return the vectors `(d,)` that are there, of these keys."""
        found: dict[bytes, Vectors] = {}
        with no_fork(), closing(self._open()) as database:
            for key in keys:
                row = database.execute("SELECT vector FROM embeddings WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = np.frombuffer(row[0], dtype="<f4").astype(np.float32)
        return found

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Keep vectors `(d,)`, unless the file is read only."""
        if _is_read_only(Path(self.file)):
            return
        rows = [(key, vector.astype("<f4").tobytes()) for key, vector in vectors.items()]
        with no_fork(), closing(self._open()) as database, database:
            database.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?)", rows)
            dropped = 1
            while dropped and _used_bytes(database) > self.max_bytes:
                dropped = database.execute(
                    "DELETE FROM embeddings WHERE rowid <= "
                    "(SELECT min(rowid) + (max(rowid) - min(rowid)) / 10 FROM embeddings)"
                ).rowcount

    def _open(self) -> sqlite3.Connection:
        # A connection for each batch: it costs less than a picture, and none is left to a fork, which would take the
        # parent's locks for its own, or to a thread's end.
        file = Path(self.file).resolve()  # SQLite's journal lies beside the file, not beside a link to it
        mode = "mode=rwc"
        if _is_read_only(file):
            # While nobody writes it, a reader would have to make a journal first, and can't.
            mode = "mode=ro" if file.with_name(file.name + "-wal").exists() else "immutable=1"
        return sqlite3.connect(f"{file.as_uri()}?{mode}", timeout=60, uri=True)


def _is_read_only(file: Path) -> bool:
    return file.exists() and not (_may_write(file) and _may_write(file.resolve().parent))


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _used_bytes(database: sqlite3.Connection) -> int:
    pages, free, size = (
        database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
