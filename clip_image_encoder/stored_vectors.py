"""Vectors of a folder of Parquet files as one array, to search in: in memory, or mapped from a file if they are many.

Parquet can't be mapped: a column's numbers lie in compressed pages. So many vectors are copied once to a file beside
the Parquet files, which is mapped then:

    vectors.parquet/ok-4f....parquet      written by embed_folder
    vectors.parquet/.vectors-9b....npy    all vectors of these files; readers of Parquet don't look at it
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np

from clip_image_encoder._arguments import available_cores
from clip_image_encoder._threads import in_order
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.parquet import UNFINISHED, EmbeddingFiles, MadeBy, made_by

__all__ = ["StoredVectors", "open_vectors"]

_logger = logging.getLogger(__name__)

_COPY = ".vectors-"

# Size in bytes from which vectors are mapped, 64,000 vectors of 512 numbers; fewer are read in a moment.
_MAPPED_FROM = 1 << 27


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredVectors:
    """Vectors that `embed_folder` has written, with the paths of their images.

    Attributes:
        paths: Paths of the images, as they are stored; a row's path is that of the vector in the same row.
        vectors: Vectors `(n, d)` float32, in memory or mapped from a file, and then not writable.
        fingerprint: Fingerprint of the encoder.
        model: Hub id, "tiny-shapes" or name of the model's folder; None if it is not stored.
        space: Encoder's `space`, which an encoder of comparable texts shares; None if it is not stored.
    """

    paths: list[str]
    vectors: Vectors
    fingerprint: str
    model: str | None
    space: str | None


@dataclass(frozen=True, kw_only=True)
class _Part:
    """A Parquet file of the folder: its name, and the paths of its rows."""

    name: str
    paths: list[str]


def open_vectors(place: str | os.PathLike[str]) -> StoredVectors:
    """Return the vectors of all images that succeeded in a folder of Parquet files, in the order of their paths.

    From 128 MB on they are copied once to a file in the folder, `.vectors-*.npy`, and mapped from it: then they are
    open at once the next time, and the system keeps in memory what there is room for. The file is made anew after the
    Parquet files have changed, and is as large as they are. It may be deleted at any moment. While a job
    writes to the folder, or if the folder can't be written to or is at a URL, vectors are read into memory instead.

    Args:
        place: Folder or URL that `embed_folder` or the command `encode` has written to.

    Raises:
        ConfigurationError: There are no vectors, or a file is damaged, has no column `path`, or holds vectors of
            another encoder than the others.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from clip_image_encoder.parquet import EmbeddingFiles, embeddings_table
        >>> from clip_image_encoder.stored_vectors import open_vectors
        >>> folder = tempfile.mkdtemp()
        >>> table = embeddings_table({"path": ["a.jpg"]}, np.ones((1, 2), np.float32), [None], fingerprint="abc")
        >>> EmbeddingFiles.at(folder).add(table, key="path")
        >>> stored = open_vectors(folder)
        >>> stored.paths, stored.vectors.shape
        (['a.jpg'], (1, 2))
    """
    files = EmbeddingFiles.at(place)
    parts, maker = _listed(files)
    paths = [path for part in parts for path in part.paths]
    return StoredVectors(
        paths=paths,
        vectors=_vectors(files, parts, len(paths)),
        fingerprint=str(maker.fingerprint),
        model=maker.model,
        space=maker.space,
    )


def _listed(files: EmbeddingFiles) -> tuple[list[_Part], MadeBy]:
    """Return the files of images that succeeded, in the order of their first paths, and who made their vectors.

    Raises:
        ConfigurationError: There are no such files, or one of them is of another kind or encoder than the others.
    """
    parts: list[_Part] = []
    makers: dict[str, MadeBy] = {}
    for name in files.names():
        if name.startswith("failed-"):
            continue
        table = files.read(name, columns=["path"])
        maker = made_by(table)
        if maker.fingerprint is None or "path" not in table.column_names:
            raise ConfigurationError(f"{files.path}/{name} was not written by embed_folder; take it out of the folder")
        # A file that was written before models were stored says less than the others.
        if maker.fingerprint not in makers or maker.space is not None:
            makers[maker.fingerprint] = maker
        parts.append(_Part(name=name, paths=table["path"].to_pylist()))
    if not parts:
        raise ConfigurationError(f"{files.path} holds no vectors; write some with the command encode, or embed_folder")
    if len(makers) > 1:
        raise ConfigurationError(f"{files.path} holds vectors of {len(makers)} encoders, which can't be compared")
    # A job writes its images in the order of their paths.
    parts.sort(key=lambda part: part.paths[:1])
    (maker,) = makers.values()
    return parts, maker


def _vectors(files: EmbeddingFiles, parts: list[_Part], count: int) -> Vectors:
    """Return the vectors of all parts: mapped if they are many and there may be a file, in memory otherwise."""
    dimension = _embeddings(files, parts[0]).shape[1]
    if files.local is None or 4 * count * dimension < _MAPPED_FROM:
        return _in_memory(files, parts, count, dimension)
    copy = files.local / f"{_COPY}{_stamp(files.local, parts)}.npy"
    # After a power failure a file may be shorter than it was written.
    if not copy.exists() or copy.stat().st_size < 4 * count * dimension:
        with ExitStack() as stack:
            try:
                stack.enter_context(files.locked())
            except ConfigurationError as error:
                _logger.info("vectors are read into memory: %s", error)
                return _in_memory(files, parts, count, dimension)
            try:
                _write(copy, files, parts, (count, dimension))
            except OSError as error:  # a full disk
                _logger.info("vectors are read into memory: %s", error)
                return _in_memory(files, parts, count, dimension)
    mapped: Vectors = np.load(copy, mmap_mode="r")
    return mapped


def _in_memory(files: EmbeddingFiles, parts: list[_Part], count: int, dimension: int) -> Vectors:
    vectors = np.empty((count, dimension), np.float32)
    start = 0
    with closing(_blocks(files, parts, dimension)) as blocks:
        for block in blocks:
            vectors[start : start + len(block)] = block
            start += len(block)
    return vectors


def _write(copy: Path, files: EmbeddingFiles, parts: list[_Part], shape: tuple[int, int]) -> None:
    """Write the vectors to a file, whole or not at all, and remove the copies that it takes the place of."""
    unfinished = copy.with_name(f"{UNFINISHED}vectors-{uuid4().hex}")
    try:
        # Not into mapped memory, where a full disk would end the process.
        with unfinished.open("wb") as file, closing(_blocks(files, parts, shape[1])) as blocks:
            header = {"descr": np.lib.format.dtype_to_descr(np.dtype("<f4")), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(block.astype("<f4", copy=False).data)
        unfinished.replace(copy)
    finally:
        unfinished.unlink(missing_ok=True)
    for other in copy.parent.glob(f"{_COPY}*.npy"):
        if other != copy:
            with suppress(PermissionError):  # Windows keeps a file that another process has mapped
                other.unlink(missing_ok=True)


def _blocks(files: EmbeddingFiles, parts: list[_Part], dimension: int) -> Generator[Vectors]:
    """Yield the vectors of each part, in order; threads read some parts ahead."""

    def read(part: _Part) -> Vectors:
        block = _embeddings(files, part)
        if block.shape != (len(part.paths), dimension):
            raise ConfigurationError(f"{files.path}/{part.name} has vectors of another length than the other files")
        return block

    workers = available_cores()
    return in_order(read, parts, workers=workers, ahead=2 * workers)


def _embeddings(files: EmbeddingFiles, part: _Part) -> Vectors:
    """Return the vectors `(n, d)` of a part."""
    column = files.read(part.name, columns=["embedding"])["embedding"]
    numbers: Vectors = column.combine_chunks().flatten().to_numpy().astype(np.float32, copy=False)
    return numbers.reshape(len(part.paths), -1)


def _stamp(folder: Path, parts: list[_Part]) -> str:
    """Return a string that changes when a file of the folder is added, removed or written again."""
    digest = hashlib.sha256()
    for part in parts:
        found = (folder / part.name).stat()
        digest.update(f"{part.name} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:32]
