"""Locks for objects of the caller's, each of which one thread may use at a time."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

from clip_image_encoder._forks import in_forks

__all__ = ["lock_of"]


class _Locks:
    """A handful of locks shared out by identity: nothing is attached to the caller's object or forgotten later."""

    def __init__(self) -> None:
        self._make_locks()
        in_forks(self, _Locks._make_locks)

    def of(self, item: object) -> AbstractContextManager[object]:
        return self._locks[id(item) // 16 % len(self._locks)]

    def _make_locks(self) -> None:
        # Reentrant, for a file object that itself loads an image when it is read.
        self._locks = tuple(threading.RLock() for _ in range(64))


_LOCKS = _Locks()


def lock_of(item: object) -> AbstractContextManager[object]:
    """Return the lock to hold while a file object is read or a PIL image is decoded.

    The position of a file and the decoder of a lazily opened image are state that two threads
    would spoil for each other when the same object stands in a list twice.
    """
    return _LOCKS.of(item)
