"""Locks for the caller's objects, of which each may be used by one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from clip_image_encoder._forks import in_forks

__all__ = ["Locks", "lock_of"]


class Locks:
    """One lock for each object in use, found by the object's identity and removed after its last use.

    Nothing is attached to the object, and no two objects share a lock. A fixed number of locks, chosen by address,
    would make threads wait for unrelated objects: objects of one size lie at every fourth or eighth address only.
    """

    def __init__(self) -> None:
        self._begin()
        in_forks(self, Locks._begin)

    def __len__(self) -> int:
        return len(self._in_use)

    @contextmanager
    def of(self, item: object) -> Iterator[None]:
        """Hold the lock of an object."""
        key = id(item)  # unique while the object is in use
        with self._guard:
            lock = self._in_use.setdefault(key, _Lock())
            lock.users += 1
        try:
            with lock.held:
                yield
        finally:
            with self._guard:
                lock.users -= 1
                if lock.users == 0 and self._in_use.get(key) is lock:  # a fork has a new dict
                    del self._in_use[key]

    def _begin(self) -> None:
        # Reentrant, because the garbage collector may interrupt it with a finalizer that loads an image.
        self._guard = threading.RLock()
        self._in_use: dict[int, _Lock] = {}


class _Lock:
    """The lock of one object, and the number of threads that hold it or wait for it."""

    def __init__(self) -> None:
        # Reentrant, since reading a file object may load another image through the same object.
        self.held = threading.RLock()
        self.users = 0


_LOCKS = Locks()


def lock_of(item: object) -> AbstractContextManager[None]:
    """Return the lock to hold while a file object is read or a PIL image is decoded.

    The position of a file and the decoder of an image that is not loaded yet are state: without a lock, two threads
    would spoil it where a list contains the same object twice.
    """
    return _LOCKS.of(item)
