"""Work on threads, ahead of who takes the results, and in order."""

from __future__ import annotations

import itertools
import os
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock, Thread, current_thread
from typing import Any, TypeVar

from clip_image_encoder.errors import ConfigurationError

__all__ = ["Crew", "in_order", "in_parts"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Seconds that a crew's threads have to end. A read from a network or a pipe may never end: it keeps neither
# Ctrl-C nor an error nor the program's end waiting.
_PATIENCE = 1.0


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int, ahead: int
) -> Generator[_Result]:
    """Apply a function to each item on threads, and yield the results in the items' order.

    Where no thread can be started, as at the end of the program, the function is called on the caller's.

    Args:
        function: called once for each item; what it raises is raised here, in its place.
        items: drawn on the caller's thread, as results are taken. If drawing raises, the results of
            the items before come first, then that error.
        workers: number of threads; 0 calls the function on the caller's thread, with nothing ahead.
        ahead: number of items that are drawn before the first result is handed on.
    """
    if workers == 0:
        yield from map(function, items)
        return
    source = iter(items)
    process = os.getpid()
    source_error: Exception | None = None
    pending: deque[Future[_Result]] = deque()
    crew = Crew(workers)
    try:
        while True:
            try:
                item = next(source)
            except StopIteration:
                break
            except Exception as error:  # noqa: BLE001 - whatever the source raises, after the results before it
                source_error = error
                break
            pending.append(crew.submit(function, item))
            del item
            if len(pending) >= ahead:
                yield pending.popleft().result()
                _check_threads(process)
        while pending:
            yield pending.popleft().result()
            _check_threads(process)
        if source_error is not None:
            raise source_error
    finally:
        crew.end()


def _check_threads(process: int) -> None:
    if os.getpid() != process:
        raise ConfigurationError("a stream can't be continued in a forked process; begin another one there")


def in_parts(items: Iterable[_Item], size: int) -> Generator[list[_Item]]:
    """Yield lists of so many items, the last one shorter; if drawing raises, the items before come first.

    Args:
        items: any iterable, endless ones too.
        size: number of items in a list.
    """
    source = iter(items)
    while True:
        part: list[_Item] = []
        source_error: Exception | None = None
        try:
            part.extend(itertools.islice(source, size))
        except Exception as error:  # noqa: BLE001 - the source's own: what came before it is handed on first
            source_error = error
        if part:
            yield part
        if source_error is not None:
            raise source_error
        if len(part) < size:
            return


class Crew:
    """A few threads that call functions, started as there is work for them.

    Unlike those of ThreadPoolExecutor they are daemons, and the program's end waits for them a second, not
    until their reads have ended.

    Args:
        size: number of threads, at most.
    """

    def __init__(self, size: int) -> None:
        self._to_start = size
        self._starting = Lock()
        self._threads: list[_Worker] = []
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        # Called at the program's end, too: a thread that is cut off inside a model can crash the process.
        self.end = weakref.finalize(self, _end_threads, self._threads, self._tasks)

    def submit(self, function: Callable[[_Item], _Result], item: _Item) -> Future[_Result]:
        """Return the future of a call, which a thread makes when it comes to it; several threads may submit."""
        future: Future[_Result] = Future()
        if self._to_start:
            with self._starting:
                self._start_another()
        if self._threads:
            self._tasks.put((future, function, item))
        else:
            _work_on(future, function, item)
        return future

    def close(self) -> None:
        """Start no more threads, and end those there are."""
        with self._starting:
            self._to_start = 0
        self.end()

    def _start_another(self) -> None:
        if not self._to_start:
            return
        thread = _Worker(self._tasks, number=len(self._threads))
        try:
            thread.start()
        except RuntimeError:  # the program ends, or the system has no more threads: those there are must do
            self._to_start = 0
        else:
            self._to_start -= 1
            self._threads.append(thread)


_Task = tuple[Future[Any], Callable[[Any], Any], Any]


class _Worker(Thread):
    """Works on tasks until it is told that there are no more."""

    def __init__(self, tasks: SimpleQueue[_Task | None], *, number: int) -> None:
        super().__init__(name=f"clip_image_encoder_{number}", daemon=True)
        self._tasks = tasks

    def run(self) -> None:
        """Work on tasks."""
        while (task := self._tasks.get()) is not None:
            _work_on(*task)
            del task  # while the next is awaited, nobody's image is kept in memory


def _work_on(future: Future[_Result], function: Callable[[_Item], _Result], item: _Item) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(item)
    except BaseException as error:  # noqa: BLE001 - raised where the result is taken
        future.set_exception(error)
        del future  # which keeps the error, whose traceback keeps this frame
    else:
        future.set_result(result)


def _end_threads(threads: list[_Worker], tasks: SimpleQueue[_Task | None]) -> None:
    """Drop the calls that have not begun, and let the threads end."""
    while True:
        try:
            task = tasks.get_nowait()
        except Empty:
            break
        if task is not None:
            task[0].cancel()
    for _ in threads:
        tasks.put(None)
    # A generator may be collected on such a thread, which must not wait for itself or for another that
    # waits for it; and a thread of a program that has ended never ends.
    if isinstance(current_thread(), _Worker) or sys.is_finalizing():
        return
    deadline = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
