"""Embeddings as Parquet files: one schema for everything that writes them, and what is written already."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from clip_image_encoder._folder_lock import lock_folder
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ConfigurationError, ImageError, MissingExtraError

try:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.fs
    import pyarrow.parquet as pq
    from fsspec.core import url_to_fs
except ModuleNotFoundError as error:
    raise MissingExtraError(
        f"Parquet needs {error.name}: python -m pip install 'clip-image-encoder[parquet]'"
    ) from error

__all__ = ["EmbeddingFiles", "embeddings_table", "open_folder"]

_FINGERPRINT = b"clip_image_encoder.fingerprint"
_UNFINISHED = ".unfinished-"


def open_folder(place: str | os.PathLike[str]) -> tuple[pa.fs.FileSystem, str]:
    """Return the file system of a folder, and the folder's path in it.

    Args:
        place: A path, a URL of pyarrow's file systems, such as `s3://bucket/photos`, or any other URL that
            fsspec opens.

    Raises:
        ConfigurationError: Neither pyarrow nor fsspec knows such a URL, or what it takes is not installed.

    Example:
        >>> from clip_image_encoder.parquet import open_folder
        >>> filesystem, path = open_folder("memory://photos")
        >>> path
        '/photos'
    """
    url = os.fspath(place)
    if "://" not in url:
        return pa.fs.LocalFileSystem(), str(Path(url).absolute())
    try:
        filesystem, path = pa.fs.FileSystem.from_uri(url)
    except pa.ArrowInvalid:
        # pyarrow's own file systems are quicker where there are both.
        try:
            known, path = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"{url} can't be opened: {error}") from error
        filesystem = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(known))
    return filesystem, path


def embeddings_table(
    columns: Mapping[str, Any], embeddings: Vectors, failures: Sequence[ImageError | None], *, fingerprint: str
) -> pa.Table:
    """Return a table of images and their embeddings.

    Args:
        columns: What is known of the images, such as `{"path": [...]}`; n values in each column.
        embeddings: `(n, d)` float32; the rows of images that failed are NaN.
        failures: The error of each image, or None where there is none.
        fingerprint: Fingerprint of the encoder; kept in the schema's metadata.

    Returns:
        The columns, and after them `embedding`, a list of d float32 that is never null, since databases
        and readers stumble over null vectors; `status`, "ok" or "failed"; `error`, what is wrong with the
        picture, or null.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.parquet import embeddings_table
        >>> table = embeddings_table({"path": ["a.jpg"]}, np.ones((1, 2), np.float32), [None], fingerprint="abc")
        >>> table.column_names
        ['path', 'embedding', 'status', 'error']
        >>> table["status"][0].as_py(), table["embedding"].type
        ('ok', FixedSizeListType(fixed_size_list<item: float>[2]))
    """
    table = pa.table(dict(columns))
    kind = pa.list_(pa.float32(), embeddings.shape[1])
    values = pa.array(np.ascontiguousarray(embeddings, dtype=np.float32).reshape(-1))
    statuses = ["failed" if failure else "ok" for failure in failures]
    # Not its place in the call, which another run, or a resumed one, would number otherwise.
    errors = [failure.reason if failure else None for failure in failures]
    added = {
        pa.field("embedding", kind, nullable=False): pa.FixedSizeListArray.from_arrays(values, type=kind),
        pa.field("status", pa.string(), nullable=False): pa.array(statuses, pa.string()),
        pa.field("error", pa.string()): pa.array(errors, pa.string()),
    }
    for field, array in added.items():
        table = table.append_column(field, array)
    return table.replace_schema_metadata({_FINGERPRINT: fingerprint.encode()})


@dataclass(frozen=True)
class EmbeddingFiles:
    """A folder of Parquet files, on a disk or an object store: `ok-*.parquet` and `failed-*.parquet`.

    Attributes:
        filesystem: File system of pyarrow that the folder is in.
        path: Path of the folder in the file system.
    """

    filesystem: pa.fs.FileSystem
    path: str

    @classmethod
    def at(cls, destination: str | os.PathLike[str]) -> EmbeddingFiles:
        """Return the files at a path, or at a URL such as `s3://bucket/vectors.parquet`.

        Raises:
            ConfigurationError: There is no such kind of URL.
        """
        return cls(*open_folder(destination))

    @property
    def local(self) -> Path | None:
        """The folder, where it is on a disk of this machine; None on an object store or another file system."""
        return Path(self.path) if isinstance(self.filesystem, pa.fs.LocalFileSystem) else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other jobs out until the block ends, and remove what killed ones have left unfinished.

        Only folders on disks can be locked: elsewhere the block runs without a lock, and nothing is removed.

        Raises:
            ConfigurationError: Another job writes to the folder, or it can't be written to.
        """
        if self.local is None:
            yield
            return
        with lock_folder(self.local):
            for name in self._names():
                if name.startswith(_UNFINISHED):
                    self.filesystem.delete_file(f"{self.path}/{name}")
            yield

    def add(self, table: pa.Table, *, key: str) -> None:
        """Write a table from `embeddings_table`, a file for each status; each appears whole or not at all.

        The names of the files follow from the rows' keys: the same rows once more replace the first ones.

        Args:
            table: Rows, as `embeddings_table` makes them.
            key: Name of the column that tells rows apart.

        Raises:
            OSError: A file can't be written, on a full disk, say.
        """
        self.filesystem.create_dir(self.path, recursive=True)
        for status in ("ok", "failed"):
            part = table.filter(pc.equal(table["status"], status))
            if part.num_rows:
                digest = hashlib.sha256("\0".join(map(str, part[key].to_pylist())).encode()).hexdigest()[:32]
                self._write(f"{status}-{digest}.parquet", part)

    def written(self, key: str, *, fingerprint: str) -> set[str]:
        """Return the keys of all rows; none where there is no folder.

        Args:
            key: Name of the column that tells rows apart.
            fingerprint: Fingerprint of the encoder that the vectors must be of.

        Raises:
            ConfigurationError: There are vectors of another encoder, files of something else, or damaged ones.
        """
        keys: set[str] = set()
        for name in self._results():
            table = self._read(name, columns=[key])
            if (table.schema.metadata or {}).get(_FINGERPRINT) != fingerprint.encode():
                raise ConfigurationError(
                    f"{self.path} holds vectors of another encoder, which can't be compared with this one's; "
                    "write to another place, or delete it"
                )
            if key not in table.column_names:
                raise ConfigurationError(f"{self.path}/{name} has no column {key!r}; write to another place")
            keys.update(table[key].to_pylist())
        return keys

    def remove_failed(self, key: str, keys: Set[str]) -> set[str]:
        """Remove the rows of pictures that failed, so that they can be written anew, and return their keys.

        Args:
            key: Name of the column that tells rows apart.
            keys: Keys of the rows that are removed, if their images failed.

        Raises:
            ConfigurationError: A file is damaged.
            OSError: A file can't be written, on a full disk, say.
        """
        removed: set[str] = set()
        for name in self._results():
            if not name.startswith("failed-"):
                continue
            table = self._read(name)
            again = pc.is_in(table[key], pa.array(sorted(keys), table[key].type))
            rest = table.filter(pc.invert(again))
            if rest.num_rows == table.num_rows:
                continue
            removed.update(table.filter(again)[key].to_pylist())
            if rest.num_rows:
                self._write(name, rest)
            else:
                self.filesystem.delete_file(f"{self.path}/{name}")
        return removed

    def _write(self, name: str, table: pa.Table) -> None:
        # No reader that takes all of a folder's *.parquet finds it, and no other writer has the same.
        unfinished = f"{self.path}/{_UNFINISHED}{Path(name).stem}-{uuid4().hex}"
        try:
            with self.filesystem.open_output_stream(unfinished) as stream:
                pq.write_table(table, stream)
            self.filesystem.move(unfinished, f"{self.path}/{name}")
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(error.errno, reason, f"{self.path}/{name}") from error

    def _read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        with self.filesystem.open_input_file(f"{self.path}/{name}") as file:
            try:
                return pq.ParquetFile(file).read(columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise ConfigurationError(
                    f"{self.path}/{name} is damaged, or no Parquet file; delete it, and its pictures are done again"
                ) from error

    def _results(self) -> list[str]:
        return [name for name in self._names() if name.endswith(".parquet") and not name.startswith(".")]

    def _names(self) -> list[str]:
        selector = pa.fs.FileSelector(self.path, allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector) if info.is_file)
