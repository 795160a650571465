"""Guards a checkpoint against files that change between one reading and the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from clip_image_encoder.checkpoint._files import Files
from clip_image_encoder.errors import CheckpointError

__all__ = ["PinnedFiles"]

_Stamp: TypeAlias = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class PinnedFiles:
    """The files of a checkpoint, each of which must not change after it was first read.

    So what is loaded now, what is loaded later for another device, and what the fingerprint was computed from are the
    same. A change shows in a file's size and times, which takes no reading.

    Attributes:
        files: Files of the checkpoint.
        listing: Names of all files when the checkpoint was opened.
    """

    files: Files
    listing: frozenset[str] = field(compare=False, repr=False)
    _stamps: dict[str, _Stamp] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """Name of the checkpoint for error messages."""
        return self.files.name

    @property
    def never_change(self) -> bool:
        """Whether the files of this name and commit are the same at any time and on every machine."""
        return self.files.never_change

    def path(self, filename: str) -> Path:
        """Return the path of a file; called again after the file was read, it checks that it didn't change meanwhile.

        Raises:
            CheckpointError: The file is missing, can't be downloaded, or has changed since the first call.
        """
        path = self.files.path(filename)
        stamp = _stamp(path)
        if self._stamps.setdefault(filename, stamp) != stamp:
            raise CheckpointError(f"{self.name}: {filename} has changed since it was first read; make a new encoder")
        return path

    def stamp(self, filename: str) -> str:
        """Return a string that changes with a file's content on this machine: its path, size and times.

        Raises:
            CheckpointError: The file is missing, can't be downloaded, or has changed since the first call.
        """
        return f"{self.path(filename)} {self._stamps[filename]}"

    def size(self, filename: str) -> int | None:
        """Return the size of a file in bytes, or None if it is not on this machine yet."""
        return self.files.size(filename)


def _stamp(path: Path) -> _Stamp:
    """Return the size, the time of the last write and the time of the last change of a file."""
    status = path.stat()
    # A copy over the file may keep the time of the last write, but not st_ctime.
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
