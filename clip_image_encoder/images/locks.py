"""Locks for objects of the caller's, each of which one thread may use at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from clip_image_encoder._forks import in_forks

__all__ = ["Locks", "lock_of"]


class Locks:
    """One lock for each object in use, found by its identity and dropped with its last user.

    Nothing is attached to the object. It has no other's lock: a number of locks that objects share by their
    addresses would keep some waiting for others, since objects of one size lie at every fourth or eighth address only.
    """

    def __init__(self) -> None:
        self._begin()
        in_forks(self, Locks._begin)

    def __len__(self) -> int:
        return len(self._in_use)

    @contextmanager
    def of(self, item: object) -> Iterator[None]:
        """Hold the lock of an object."""
        key = id(item)  # of no other object while this one is in use
        with self._entrance:
            lock = self._in_use.setdefault(key, _Lock())
            lock.users += 1
        try:
            with lock.held:
                yield
        finally:
            with self._entrance:
                lock.users -= 1
                if lock.users == 0 and self._in_use.get(key) is lock:  # which is gone in a forked process
                    del self._in_use[key]

    def _begin(self) -> None:
        # Reentrant, because the garbage collector may interrupt it with a finalizer that loads an image.
        self._entrance = threading.RLock()
        self._in_use: dict[int, _Lock] = {}


class _Lock:
    """The lock of one object, and how many threads hold it or wait for it."""

    def __init__(self) -> None:
        # Reentrant, for a file object that itself loads an image when it is read.
        self.held = threading.RLock()
        self.users = 0


_LOCKS = Locks()


def lock_of(item: object) -> AbstractContextManager[None]:
    """Return the lock to hold while a file object is read or a PIL image is decoded.

    The position of a file and the decoder of a lazily opened image are state that two threads
    would spoil for each other when the same object stands in a list twice.
    """
    return _LOCKS.of(item)
