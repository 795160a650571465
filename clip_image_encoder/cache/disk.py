"""DiskCache: vectors in an SQLite file."""

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
    """Cache of vectors in an SQLite file, which several threads and processes of one machine may share.

    The vectors that were written longest ago are dropped first. Do not put the file on a network disk, where SQLite's
    locks do not work. A file that this process may not write, such as one on a read-only disk, is only read.

    Args:
        file: Path of the file, which is made if it is missing; stored as an absolute path.
        max_bytes: Largest size of the file in bytes, 4,000,000,000 by default; SQLite's journal beside it takes some
            megabytes more. Below the size of an empty file, about 12,000 bytes, no vector is kept.

    Raises:
        ConfigurationError: The file can't be opened, or is not such a cache.
        sqlite3.Error: The file can't be read or written any more, such as on a full disk; raised by `get` and `put`.

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
        """Return the vectors that the cache has.

        Args:
            keys: Keys to look up.

        Returns:
            Vectors `(d,)` float32 by key, without the keys that are not in the cache.
        """
        found: dict[bytes, Vectors] = {}
        with no_fork(), closing(self._open()) as database:
            for key in keys:
                row = database.execute("SELECT vector FROM embeddings WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    found[key] = np.frombuffer(row[0], dtype="<f4").astype(np.float32)
        return found

    def put(self, vectors: Mapping[bytes, Vectors]) -> None:
        """Store vectors, unless the file is read-only.

        Args:
            vectors: Vectors `(d,)` float32 by key.
        """
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
        # One connection for each call: opening takes less time than one image. A connection that is open across a fork
        # can damage the file (https://www.sqlite.org/howtocorrupt.html), and one that is kept for each thread would
        # not be closed at the thread's end.
        file = Path(self.file).resolve()  # SQLite's journal is beside the file, not beside a link to it
        mode = "mode=rwc"
        if _is_read_only(file):
            # Without a journal (-wal) SQLite would create one in order to read, and fails here; "immutable" needs none.
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
