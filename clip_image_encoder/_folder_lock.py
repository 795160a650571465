"""A folder for one job at a time: the lock ends with the process that holds it, however that ends."""

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
        # While it is held, so that it is never the file of the next job.
        file.unlink(missing_ok=True)
        os.close(descriptor)

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is missing, until the block ends.

    The lock is on the empty file `.lock` in the folder. Where the disk has no locks, as some network disks have
    none, a warning says so and the block runs without.

    Args:
        folder: the folder.

    Raises:
        ConfigurationError: another job holds it, or it can't be written to.
    """
    file = folder / ".lock"
    try:
        if folder.exists() and not folder.is_dir():
            raise ConfigurationError(f"{folder} is not a folder")
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(file)
    except BlockingIOError as error:
        raise ConfigurationError(
            f"another job writes to {folder}; wait until it has ended, or write to another place"
        ) from error
    except OSError as error:
        raise ConfigurationError(f"{folder} can't be written to: {error.strerror}") from error
    try:
        yield
    finally:
        _remove(file, descriptor)


def _locked(file: Path) -> int:
    """Return the descriptor of a file, locked."""
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
            warnings.warn(f"the disk of {file.parent} has no locks: let no other job write there", stacklevel=7)
        # The job before may have removed the file since it was opened: then another one will be locked by others.
        if _is(file, descriptor):
            return descriptor
        os.close(descriptor)


def _is(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
