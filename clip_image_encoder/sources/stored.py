"""Files that hold many images, on a disk or in an object store, and parts of them that are images."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.parquet import open_folder

__all__ = ["BEGIN", "Places", "Region", "StoredFile", "files_at"]

Places: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

# Number of bytes at the begin of a file that tell its format.
BEGIN = 4096


@dataclass(frozen=True)
class StoredFile:
    """A file of a file system.

    Attributes:
        filesystem: pyarrow's file system that the file is in.
        path: Path of the file in the file system.
        label: Name of the file in the names of its images, with `/`.
    """

    filesystem: Any
    path: str
    label: str

    def open(self) -> Any:
        """Open the file for reading at any position."""
        return self.filesystem.open_input_file(self.path)


class Region:
    """Part of a file that is an image; it is opened when it is read, by the thread that loads the image.

    Args:
        file: File that holds the image.
        start: Position of the first byte of the image.
        size: Number of bytes of the image.
        name: Name of the image, for error messages.
    """

    def __init__(self, file: StoredFile, start: int, size: int, name: str) -> None:
        self.name = name
        self._file = file
        self._next = start
        self._end = start + size

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size` of them; no bytes at the end."""
        content = self.begin(size)
        self._next += len(content)
        return content

    def begin(self, size: int) -> bytes:
        """Return the next bytes, at most `size` of them, which the next `read` returns again."""
        size = min(size, self._end - self._next)
        if size <= 0:
            return b""
        with self._file.open() as opened:
            content: bytes = opened.read_at(size, self._next)
        return content


def files_at(places: Places, *, ending: str) -> tuple[StoredFile, ...]:
    """Return the files at places: files, folders of files, and patterns such as `shards/*.tar`; or URLs of these.

    Args:
        places: Path or URL, or several.
        ending: Ending of the files in folders, such as ".tar".

    Raises:
        ConfigurationError: There is no such file, or two files have the same label.
    """
    listed = [places] if isinstance(places, (str, os.PathLike)) else list(places)
    found = [file for place in listed for file in _files_at(place, ending)]
    labels = [file.label for file in found]
    if len(set(labels)) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise ConfigurationError(f"two files are called {twice}; pass the folder that both are in")
    if not found:
        raise ConfigurationError(f"there is no file that ends with {ending}: {', '.join(map(str, listed)) or 'none'}")
    return tuple(found)


def _files_at(place: str | os.PathLike[str], ending: str) -> list[StoredFile]:
    from pyarrow import fs  # imported here: if it is missing, parquet.py has raised an error with the install line

    filesystem, path = open_folder(place)
    if isinstance(filesystem, fs.LocalFileSystem):
        path = Path(path).as_posix()
    kind = filesystem.get_file_info(path).type
    if kind == fs.FileType.File:
        return [StoredFile(filesystem, path, PurePosixPath(path).name)]
    if kind == fs.FileType.Directory:
        return _files_below(filesystem, path, lambda name: name.endswith(ending))
    if not re.search(r"[*?\[]", path):
        raise ConfigurationError(f"{place} is neither a file nor a folder")
    fixed = re.split(r"[*?\[]", path, maxsplit=1)[0].rpartition("/")[0]
    pattern = path[len(fixed) + 1 :].split("/")
    return _files_below(filesystem, fixed, lambda name: _matches(name.split("/"), pattern))


def _files_below(filesystem: Any, folder: str, is_wanted: Any) -> list[StoredFile]:
    from pyarrow import fs

    found = filesystem.get_file_info(fs.FileSelector(folder, recursive=True, allow_not_found=True))
    paths = sorted(info.path for info in found if info.is_file)
    names = [(path, path[len(folder) :].lstrip("/")) for path in paths]
    return [StoredFile(filesystem, path, name) for path, name in names if is_wanted(name) and "/." not in f"/{name}"]


def _matches(parts: list[str], pattern: list[str]) -> bool:
    return len(parts) == len(pattern) and all(map(fnmatch.fnmatchcase, parts, pattern))
