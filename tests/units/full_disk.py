"""A disk that is full, in effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_file_longer_than"]


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """Let the system refuse to write more bytes to a file of this process (POSIX)."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
