"""Safety of locks and threads when a process forks: the child has one thread, and each lock as it was at that moment.

A lock that another thread held stays locked in the child forever, whether it is one of Python's or one inside a
runtime or a database. So a fork waits until no other thread is inside a runtime, and in the child each component
makes new locks and threads. `concurrent.futures` and `logging` do the same.
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
"""Longest time that a fork waits, in seconds; after it the fork goes on, in case a call waits for the fork."""


_REST = 0.1
"""Seconds after a call in which a runtime's threads may hold locks: without them 1 of 200 children of OpenVINO hung."""


class _Process:
    """Threads of this process during which it must not fork, and objects that a forked process makes anew."""

    def __init__(self) -> None:
        self._is_watched = False
        self._fork_lock = RLock()  # held while this process forks; reentrant, since other packages' hooks may call
        self._block_ended = Condition()
        self._at_work: list[int] = []  # identifiers of the threads inside `no_fork`
        self._owners: dict[int, tuple[ref[Any], Callable[[Any], None]]] = {}
        self._forked_inside = False  # whether this process was forked while a thread was inside `no_fork`
        self._quiet_from = 0.0  # on the clock of `time.monotonic`

    @contextmanager
    def no_fork(self) -> Iterator[None]:
        """Let forks of this process wait until the block has ended.

        Raises:
            BackendError: This process was forked while another thread of its parent was inside such a block.
        """
        if self._forked_inside:
            raise BackendError(
                "this process was forked while another thread of its parent encoded, whose locks stay locked here; "
                "fork between two calls, or start processes with multiprocessing's 'spawn'"
            )
        self._watch()
        thread = get_ident()
        try:
            with self._fork_lock:
                self._at_work.append(thread)
            yield
        finally:
            if thread in self._at_work:  # not so if Ctrl-C came before it was added
                self._at_work.remove(thread)
                self._quiet_from = time.monotonic() + _REST
            with self._block_ended:
                self._block_ended.notify_all()

    def in_forks(self, owner: _Owner, renew: Callable[[_Owner], None]) -> None:
        """Call `renew(owner)` in each process that is forked from this one, for as long as the owner exists.

        Args:
            owner: Object that has locks, threads or a runtime's objects.
            renew: Function that replaces them with new ones.
        """
        self._watch()
        weakly = ref(owner, lambda dead: self._owners.pop(id(dead), None))
        self._owners[id(weakly)] = weakly, renew

    def _watch(self) -> None:
        if not self._is_watched and hasattr(os, "register_at_fork"):
            self._is_watched = True
            os.register_at_fork(before=self._wait, after_in_parent=self._go_on, after_in_child=self._begin_afresh)

    def _wait(self) -> None:
        self._fork_lock.acquire()
        with self._block_ended:
            self._block_ended.wait_for(lambda: not self._others_at_work(), _LONGEST_WAIT)
        time.sleep(max(0.0, self._quiet_from - time.monotonic()))

    def _go_on(self) -> None:
        self._fork_lock.release()

    def _begin_afresh(self) -> None:
        others = self._others_at_work()
        self._forked_inside = self._forked_inside or bool(others)
        self._at_work = [thread for thread in self._at_work if thread not in others]
        self._fork_lock, self._block_ended = RLock(), Condition()
        for weakly, renew in list(self._owners.values()):
            if (owner := weakly()) is not None:
                renew(owner)

    def _others_at_work(self) -> list[int]:
        return [thread for thread in self._at_work if thread != get_ident()]


_PROCESS = _Process()
in_forks = _PROCESS.in_forks
no_fork = _PROCESS.no_fork


def never_destroy(value: object) -> None:
    """Keep a value until the process has ended, also while the interpreter shuts down.

    For an object that a forked process has inherited, and whose destructor would wait for the parent's threads. Its
    memory is shared with the parent.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(value))
