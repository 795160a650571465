"""Embeddings as Parquet files: the schema that all writers share, and the folder that the files are in."""

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

__all__ = ["UNFINISHED", "EmbeddingFiles", "MadeBy", "embeddings_table", "made_by", "open_folder"]

_FINGERPRINT = b"clip_image_encoder.fingerprint"
_MODEL = b"clip_image_encoder.model"
_SPACE = b"clip_image_encoder.space"
UNFINISHED = ".unfinished-"


def open_folder(place: str | os.PathLike[str]) -> tuple[pa.fs.FileSystem, str]:
    """Return the file system that a folder is in, and the folder's path in it.

    Args:
        place: Path, URL of one of pyarrow's file systems, such as `s3://bucket/photos`, or any other URL that
            fsspec opens.

    Raises:
        ConfigurationError: Neither pyarrow nor fsspec opens such a URL, or the package that fsspec needs for it is
            not installed.

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
        # fsspec comes second: pyarrow's own file systems are faster where both open a URL.
        try:
            known, path = url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise ConfigurationError(f"{url} can't be opened: {error}") from error
        filesystem = pa.fs.PyFileSystem(pa.fs.FSSpecHandler(known))
    return filesystem, path


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """What a file says of the encoder that made its embeddings.

    Attributes:
        fingerprint: Fingerprint of the encoder; None if the file holds no embeddings of this package.
        model: Hub id, "tiny-shapes" or name of the model's folder; None if it is not known.
        space: Encoder's `space`, which texts share that can be compared; None if it is not known.
    """

    fingerprint: str | None
    model: str | None = None
    space: str | None = None


def made_by(table: pa.Table) -> MadeBy:
    """Return what a table of `embeddings_table`, or of such a file, says of its encoder.

    Args:
        table: Table whose schema's metadata is read.
    """
    said = table.schema.metadata or {}
    fingerprint, model, space = (said[key].decode() if key in said else None for key in (_FINGERPRINT, _MODEL, _SPACE))
    return MadeBy(fingerprint=fingerprint, model=model, space=space)


def embeddings_table(
    columns: Mapping[str, Any],
    embeddings: Vectors,
    failures: Sequence[ImageError | None],
    *,
    fingerprint: str,
    model: str | None = None,
    space: str | None = None,
) -> pa.Table:
    """Return a table of n images and their embeddings.

    Args:
        columns: Other columns of the table by name, such as `{"path": [...]}`; n values in each.
        embeddings: Vectors `(n, d)` float32; the rows of images that failed are NaN.
        failures: Error of each image, or None for an image that succeeded.
        fingerprint: Fingerprint of the encoder, stored in the schema's metadata.
        model: Encoder's `model`, stored there, too, so that a search finds the encoder of texts; None stores none.
        space: Encoder's `space`, stored there, too, by which texts of other models are refused; None stores none.

    Returns:
        The given columns, then `embedding`, a list of d float32 that is never null, since many databases
        and readers fail on null vectors; `status`, "ok" or "failed"; `error`, what is wrong with the
        image, or null.

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
    # The reason alone: the error's index is a place in this call, and means another image in a resumed run.
    errors = [failure.reason if failure else None for failure in failures]
    added = {
        pa.field("embedding", kind, nullable=False): pa.FixedSizeListArray.from_arrays(values, type=kind),
        pa.field("status", pa.string(), nullable=False): pa.array(statuses, pa.string()),
        pa.field("error", pa.string()): pa.array(errors, pa.string()),
    }
    for field, array in added.items():
        table = table.append_column(field, array)
    said = {_FINGERPRINT: fingerprint, _MODEL: model, _SPACE: space}
    return table.replace_schema_metadata({key: value.encode() for key, value in said.items() if value is not None})


@dataclass(frozen=True)
class EmbeddingFiles:
    """A folder of Parquet files, on a disk or an object store: `ok-*.parquet` and `failed-*.parquet`.

    Attributes:
        filesystem: pyarrow's file system that the folder is in.
        path: Path of the folder in that file system.
    """

    filesystem: pa.fs.FileSystem
    path: str

    @classmethod
    def at(cls, destination: str | os.PathLike[str]) -> EmbeddingFiles:
        """Return the files at a path, or at a URL such as `s3://bucket/vectors.parquet`.

        Raises:
            ConfigurationError: Neither pyarrow nor fsspec opens such a URL.
        """
        return cls(*open_folder(destination))

    @property
    def local(self) -> Path | None:
        """Folder on a disk of this machine; None if the files are on an object store or another file system."""
        return Path(self.path) if isinstance(self.filesystem, pa.fs.LocalFileSystem) else None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder against other jobs until the block ends, and remove the unfinished files of killed jobs.

        Only folders on disks can be locked: elsewhere the block runs without a lock, and no file is removed.

        Raises:
            ConfigurationError: Another job writes to the folder, or the folder can't be written to.
        """
        if self.local is None:
            yield
            return
        with lock_folder(self.local):
            for name in self._names():
                if name.startswith(UNFINISHED):
                    self.filesystem.delete_file(f"{self.path}/{name}")
            yield

    def add(self, table: pa.Table, *, key: str) -> None:
        """Write a table of `embeddings_table`, one file for each status; readers never see an incomplete file.

        The name of a file is a SHA-256 of its rows' keys: the same rows, written again, replace the first ones.

        Args:
            table: Table in the schema of `embeddings_table`.
            key: Name of the column that identifies rows, such as "path".

        Raises:
            OSError: A file can't be written, such as on a full disk.
        """
        self.filesystem.create_dir(self.path, recursive=True)
        for status in ("ok", "failed"):
            part = table.filter(pc.equal(table["status"], status))
            if part.num_rows:
                digest = hashlib.sha256("\0".join(map(str, part[key].to_pylist())).encode()).hexdigest()[:32]
                self._write(f"{status}-{digest}.parquet", part)

    def names(self) -> list[str]:
        """Return the names of the Parquet files in the folder, sorted; the list is empty if there is no folder."""
        return [name for name in self._names() if name.endswith(".parquet") and not name.startswith(".")]

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the table of a file.

        Args:
            name: Name of the file in the folder, one of `names()`.
            columns: Names of the columns to read; None reads all. A name that the file doesn't have is left out.

        Raises:
            ConfigurationError: The file is damaged, or not a Parquet file.
        """
        with self.filesystem.open_input_file(f"{self.path}/{name}") as file:
            try:
                return pq.ParquetFile(file).read(columns=columns)
            except (pa.ArrowException, OSError) as error:
                raise ConfigurationError(
                    f"{self.path}/{name} is damaged, or not a Parquet file; delete it, and its images are encoded again"
                ) from error

    def written(self, key: str, *, fingerprint: str | None) -> set[str]:
        """Return the keys of all rows; the set is empty if there is no folder.

        Args:
            key: Name of the column that identifies rows, such as "path".
            fingerprint: Fingerprint of the encoder that must have made the vectors; None allows those of any.

        Raises:
            ConfigurationError: The folder holds vectors of another encoder, other files, or a damaged file.
        """
        keys: set[str] = set()
        for name in self.names():
            table = self.read(name, columns=[key])
            if fingerprint is not None and made_by(table).fingerprint != fingerprint:
                raise ConfigurationError(
                    f"{self.path} holds vectors of another encoder, which can't be compared with this one's; "
                    "write to another folder, or delete this one"
                )
            if key not in table.column_names:
                raise ConfigurationError(f"{self.path}/{name} has no column {key!r}; write to another folder")
            keys.update(table[key].to_pylist())
        return keys

    def remove_failed(self, key: str, keys: Set[str]) -> set[str]:
        """Remove the rows of images that failed, so that these can be encoded again, and return their keys.

        Args:
            key: Name of the column that identifies rows, such as "path".
            keys: Keys to look for; rows of images that succeeded stay.

        Raises:
            ConfigurationError: A file is damaged.
            OSError: A file can't be written, such as on a full disk.
        """
        removed: set[str] = set()
        for name in self.names():
            if not name.startswith("failed-"):
                continue
            table = self.read(name)
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
        # The temporary name does not end in .parquet, which readers of the folder look for; it is unique to this write.
        unfinished = f"{self.path}/{UNFINISHED}{Path(name).stem}-{uuid4().hex}"
        try:
            with self.filesystem.open_output_stream(unfinished) as stream:
                pq.write_table(table, stream)
            self.filesystem.move(unfinished, f"{self.path}/{name}")
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise OSError(error.errno, reason, f"{self.path}/{name}") from error

    def _names(self) -> list[str]:
        selector = pa.fs.FileSelector(self.path, allow_not_found=True)
        return sorted(info.base_name for info in self.filesystem.get_file_info(selector) if info.is_file)
