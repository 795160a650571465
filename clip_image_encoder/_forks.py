"""Forks of a process that is at work: the child has one thread, and every lock as it was at that moment.

A lock that another thread held stays locked in the child for ever, whether it is one of Python's or one inside a
runtime or a database. So a fork waits until none of those works, and in the child each component makes its own locks
and threads anew. `concurrent.futures` and `logging` do the same with theirs.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition, RLock, get_ident
from typing import Any, TypeVar
from weakref import ref

from clip_image_encoder.errors import BackendError

__all__ = ["in_forks", "never_destroy", "no_fork"]

_Owner = TypeVar("_Owner")

_LONGEST_WAIT = 30.0
"""Seconds that a fork waits; it goes on then, so that a call that waits for the fork can't stop both."""


_REST = 0.1
"""Seconds after a call in which a runtime's own threads may still hold locks: one of 200 children of OpenVINO hung."""


class _Process:
    """What must not be forked in this process now, and what a fork of it makes anew."""

    def __init__(self) -> None:
        self._is_watched = False
        self._entrance = RLock()  # held while this process forks; reentrant, for other packages' hooks
        self._left = Condition()
        self._at_work: list[int] = []  # the threads inside of `no_fork`
        self._owners: dict[int, tuple[ref[Any], Callable[[Any], None]]] = {}
        self._is_torn = False
        self._at_rest = 0.0  # on the clock of `time.monotonic`

    @contextmanager
    def no_fork(self) -> Iterator[None]:
        """Let forks of this process wait until the block has ended.

        Raises:
            BackendError: this process was forked inside such a block of its parent's all the same.
        """
        if self._is_torn:
            raise BackendError(
                "this process was forked while another thread of its parent encoded, and has the locks of that "
                "thread but not the thread; fork between two calls, or start processes with multiprocessing's 'spawn'"
            )
        self._watch()
        thread = get_ident()
        try:
            with self._entrance:
                self._at_work.append(thread)
            yield
        finally:
            if thread in self._at_work:  # a Ctrl-C may have come before
                self._at_work.remove(thread)
                self._at_rest = time.monotonic() + _REST
            with self._left:
                self._left.notify_all()

    def in_forks(self, owner: _Owner, renew: Callable[[_Owner], None]) -> None:
        """Call `renew(owner)` in each process that is forked from this one, for as long as the owner lives.

        Args:
            owner: has locks, threads or a runtime's objects.
            renew: makes them anew.
        """
        self._watch()
        weakly = ref(owner, lambda dead: self._owners.pop(id(dead), None))
        self._owners[id(weakly)] = weakly, renew

    def _watch(self) -> None:
        if not self._is_watched and hasattr(os, "register_at_fork"):
            self._is_watched = True
            os.register_at_fork(before=self._wait, after_in_parent=self._go_on, after_in_child=self._begin_afresh)

    def _wait(self) -> None:
        self._entrance.acquire()
        with self._left:
            self._left.wait_for(lambda: not self._others_at_work(), _LONGEST_WAIT)
        time.sleep(max(0.0, self._at_rest - time.monotonic()))

    def _go_on(self) -> None:
        self._entrance.release()

    def _begin_afresh(self) -> None:
        others = self._others_at_work()
        self._is_torn = self._is_torn or bool(others)
        self._at_work = [thread for thread in self._at_work if thread not in others]
        self._entrance, self._left = RLock(), Condition()
        for weakly, renew in list(self._owners.values()):
            if (owner := weakly()) is not None:
                renew(owner)

    def _others_at_work(self) -> list[int]:
        return [thread for thread in self._at_work if thread != get_ident()]


_PROCESS = _Process()
in_forks = _PROCESS.in_forks
no_fork = _PROCESS.no_fork


def never_destroy(value: object) -> None:
    """Keep a value until the process is gone, also while Python takes its modules down.

    For what a forked process has from its parent and whose destructor waits for the parent's threads. The memory is
    shared with the parent.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
