"""A lock that lets one job at a time write to a folder; it is released when its process ends, even if killed."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clip_image_encoder.errors import ConfigurationError

__all__ = ["lock_folder"]

if sys.platform == "win32":
    import msvcrt

    def _remove(file: Path, descriptor: int) -> None:
        os.close(descriptor)
        with suppress(PermissionError):  # the next job has opened it
            file.unlink(missing_ok=True)

    def _try_lock(descriptor: int) -> None:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError from error

else:
    import fcntl

    def _remove(file: Path, descriptor: int) -> None:
        # Removed while the lock is held: after close() the file may already be locked by the next job.
        file.unlink(missing_ok=True)
        os.close(descriptor)

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder until the block ends; the folder is made if it is missing.

    The lock is on the empty file `.lock` in the folder. If the disk has no locks, as some network disks, a warning
    says so and the block runs without a lock.

    Args:
        folder: Folder to lock.

    Raises:
        ConfigurationError: Another job has locked the folder, or the folder can't be written to.
    """
    file = folder / ".lock"
    try:
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"{folder} is not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(file)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"another job writes to {folder}; wait until it has ended, or write to another folder"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{folder} can't be written to: {error.strerror}") from error
    try:
        yield
    finally:
        _remove(file, descriptor)


def _locked(file: Path) -> int:
    """Open and lock a file, and return its descriptor."""
    while True:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError as error:  # an export that ends at this moment has removed the folder
            raise BlockingIOError from error
        try:
            _try_lock(descriptor)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                os.close(descriptor)
                raise
            warnings.warn(
                f"the disk of {file.parent} has no file locks; make sure that no other job writes there", stacklevel=7
            )
        # The job before may have removed the file after it was opened here. Then this lock is on a file that other jobs
        # don't see, and it is opened again.
        if _is(file, descriptor):
            return descriptor
        os.close(descriptor)


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
