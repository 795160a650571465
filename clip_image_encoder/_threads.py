"""Function calls on threads, some ahead of the caller, whose results come in order."""

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

# Seconds that threads have to end. A read from a network or a pipe may never end, and must not block Ctrl-C, an error
# or the program's end.
_LONGEST_WAIT = 1.0


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, workers: int, ahead: int
) -> Generator[_Result]:
    """Apply a function to each item on threads, and yield the results in the items' order.

    If no thread can be started, as at the end of the program, the function is called on the caller's thread.

    Args:
        function: Function of one item; an error that it raises is raised here in the place of the result.
        items: Iterable, drawn on the caller's thread as results are taken. If drawing raises, the results of
            the items before come first, then that error.
        workers: Number of threads; 0 calls the function on the caller's thread, with no item ahead.
        ahead: Number of items that are drawn before the first result is yielded.
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
            except Exception as error:  # noqa: BLE001 - raised below, after the results of the items before
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
        raise ConfigurationError("a stream can't be continued in a forked process; start a new one there")


def in_parts(items: Iterable[_Item], size: int) -> Generator[list[_Item]]:
    """Yield the items in lists of equal length; the last list may be shorter.

    Args:
        items: Any iterable; it may be endless. If drawing raises, the items before are yielded first.
        size: Number of items in a list.
    """
    source = iter(items)
    while True:
        part: list[_Item] = []
        source_error: Exception | None = None
        try:
            part.extend(itertools.islice(source, size))
        except Exception as error:  # noqa: BLE001 - raised below, after the items before
            source_error = error
        if part:
            yield part
        if source_error is not None:
            raise source_error
        if len(part) < size:
            return


class Crew:
    """A thread pool, whose threads are started as calls are submitted.

    Unlike the threads of ThreadPoolExecutor these are daemons: the program's end waits for them for at most a second,
    not until their reads have ended.

    Args:
        size: Largest number of threads.
    """

    def __init__(self, size: int) -> None:
        self._to_start = size
        self._starting = Lock()
        self._threads: list[_Worker] = []
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        # Called at the program's end, too: a thread that is cut off inside a model can crash the process.
        self.end = weakref.finalize(self, _end_threads, self._threads, self._tasks)

    def submit(self, function: Callable[[_Item], _Result], item: _Item) -> Future[_Result]:
        """Queue a call of a function with an item, and return its future; any thread may call this."""
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
        """End the threads, and start no more."""
        with self._starting:
            self._to_start = 0
        self.end()

    def _start_another(self) -> None:
        if not self._to_start:
            return
        thread = _Worker(self._tasks, number=len(self._threads))
        try:
            thread.start()
        except RuntimeError:  # at the program's end, or at the system's limit: go on with the threads that run
            self._to_start = 0
        else:
            self._to_start -= 1
            self._threads.append(thread)


_Task = tuple[Future[Any], Callable[[Any], Any], Any]


class _Worker(Thread):
    """Makes the calls of a queue until it gets None."""

    def __init__(self, tasks: SimpleQueue[_Task | None], *, number: int) -> None:
        super().__init__(name=f"clip_image_encoder_{number}", daemon=True)
        self._tasks = tasks

    def run(self) -> None:
        """Make the calls of the queue."""
        while (task := self._tasks.get()) is not None:
            _work_on(*task)
            del task  # frees the image while the thread waits for the next call


def _work_on(future: Future[_Result], function: Callable[[_Item], _Result], item: _Item) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function(item)
    except BaseException as error:  # noqa: BLE001 - raised where the result is taken
        future.set_exception(error)
        del future  # breaks a cycle: the future keeps the error, whose traceback keeps this frame
    else:
        future.set_result(result)


def _end_threads(threads: list[_Worker], tasks: SimpleQueue[_Task | None]) -> None:
    """Cancel the calls that have not begun, and wait for the threads to end, for at most a second."""
    while True:
        try:
            task = tasks.get_nowait()
        except Empty:
            break
        if task is not None:
            task[0].cancel()
    for _ in threads:
        tasks.put(None)
    # The garbage collector may run this on one of these threads, which must not wait for itself or for another that
    # waits for it. And a daemon thread never ends once the interpreter shuts down.
    if isinstance(current_thread(), _Worker) or sys.is_finalizing():
        return
    deadline = time.monotonic() + _LONGEST_WAIT
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
