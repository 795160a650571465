"""The files of a checkpoint, held to what they were when they were first read."""

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
    """Files of which none may change between one reading and the next.

    So what is loaded now, what is loaded later for another device, and what a fingerprint is made of are
    the same. A file is known by its size and times, which costs nothing, whatever its size.

    Attributes:
        files: where they lie.
        listing: names of all files when the checkpoint was opened.
    """

    files: Files
    listing: frozenset[str] = field(compare=False, repr=False)
    _stamps: dict[str, _Stamp] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The checkpoint as messages call it."""
        return self.files.name

    @property
    def never_change(self) -> bool:
        """Whether its name and commit say all that is in the files, on every machine."""
        return self.files.never_change

    def path(self, filename: str) -> Path:
        """Return where `filename` lies; called again after a reading, it makes sure of what was read.

        Raises:
            CheckpointError: it is missing, can't be had, or has changed since the first call.
        """
        path = self.files.path(filename)
        stamp = _stamp(path)
        if self._stamps.setdefault(filename, stamp) != stamp:
            raise CheckpointError(f"{self.name}: {filename} has changed since it was first read; make a new encoder")
        return path

    def stamp(self, filename: str) -> str:
        """Return what tells a file's content on this machine from any other, without reading it: path, size and times.

        Raises:
            CheckpointError: It is missing, can't be downloaded, or has changed since the first call.
        """
        return f"{self.path(filename)} {self._stamps[filename]}"

    def size(self, filename: str) -> int | None:
        """Return the number of bytes of `filename`, or None where it is not on this machine yet."""
        return self.files.size(filename)


def _stamp(path: Path) -> _Stamp:
    """Return what changes with a file: a copy may bring along the time of the last write, never that of the change."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns
