"""One thread at a time for an object of the caller's that comes several times."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

__all__ = ["turn_with"]

# A handful of locks shared out by identity: nothing is attached to the caller's object, nothing has
# to be forgotten later. Reentrant, for a file object that itself loads a picture when it is read.
_LOCKS = tuple(threading.RLock() for _ in range(64))


def turn_with(item: object) -> AbstractContextManager[object]:
    """Return the lock to hold while a file object is read or a PIL image is decoded.

    The position of a file and the decoder of a lazily opened image are state that two threads
    would spoil for each other when the same object stands in a list twice.
    """
    return _LOCKS[id(item) // 16 % len(_LOCKS)]
