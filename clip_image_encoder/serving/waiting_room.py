"""Where single calls wait until a batch of them begins."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock

from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ClosedError, QueueFullError

__all__ = ["Call", "WaitingRoom"]


@dataclass(frozen=True, eq=False)
class Call:
    """One call that waits.

    Attributes:
        item: An image or a text.
        future: Gets its vector `(d,)` or its error.
        arrived: When it came, on the clock of `time.monotonic`, in seconds.
    """

    item: object
    future: Future[Vectors] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


class WaitingRoom:
    """A queue that hands out its calls in the order of their arrival, to one thread.

    Args:
        max_calls: Number of calls that may wait; None sets no limit.
    """

    def __init__(self, max_calls: int | None) -> None:
        self._max_calls = max_calls
        self._calls: deque[Call] = deque()
        self._lock = Lock()
        # Rings once for each call, and once when no more will come. Only this queue of Python's may be put into
        # by the garbage collector, which can interrupt a thread anywhere, also where it holds the lock.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._left = False
        self.closed = False

    def __len__(self) -> int:
        return len(self._calls)

    def check(self) -> None:
        """Check that a call would be taken now.

        Raises:
            ClosedError: No more calls are taken.
            QueueFullError: Too many calls wait.
        """
        with self._lock:
            self._check()

    def enter(self, item: object) -> Future[Vectors]:
        """Return the future of a new call.

        Raises:
            ClosedError: No more calls are taken.
            QueueFullError: Too many calls wait.
        """
        call = Call(item)
        with self._lock:
            self._check()
            self._calls.append(call)
        self._bell.put(None)
        return call.future

    def first(self) -> Call | None:
        """Return the next call, as soon as there is one, or None when the room is closed and empty, or left.

        From here on it can't be cancelled; calls that were cancelled before are dropped.
        """
        while True:
            self._bell.get()
            call = self._next()
            if call is not None and call.future.set_running_or_notify_cancel():
                return call
            if call is None and self.closed:
                return None

    def others(self, most: int, wait: float) -> Generator[Call]:
        """Yield the calls after the first, each as soon as there is one, for `wait` seconds in all.

        Args:
            most: Number of calls, at most.
            wait: Number of seconds; 0 yields the calls that are here already.
        """
        deadline = time.monotonic() + wait
        while most > 0:
            try:
                self._bell.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return
            call = self._next()
            if call is None and self.closed:
                self._bell.put(None)  # for `first`, which will be asked next
                return
            if call is not None and call.future.set_running_or_notify_cancel():
                most -= 1
                yield call

    def close(self, *, finish: bool) -> None:
        """Take no more calls, and fail those that wait unless they are to be finished."""
        with self._lock:
            self.closed = True
            left = [] if finish else list(self._calls)
            if not finish:
                self._calls.clear()
        self._bell.put(None)
        # Their callbacks are the callers' own, and run without the lock.
        for call in left:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(ClosedError("the batcher was closed before this call began"))

    def leave(self) -> None:
        """Let the thread that asks for calls get none any more; takes no lock and waits for nothing."""
        self._left = self.closed = True
        self._bell.put(None)

    def _next(self) -> Call | None:
        with self._lock:
            return None if self._left or not self._calls else self._calls.popleft()

    def _check(self) -> None:
        if self.closed:
            raise ClosedError("the batcher is closed")
        if self._max_calls is not None and len(self._calls) >= self._max_calls:
            self._drop_cancelled()
            if len(self._calls) >= self._max_calls:
                raise QueueFullError(f"{self._max_calls} calls wait already; try again later")

    def _drop_cancelled(self) -> None:
        """Make room: callers who gave up don't keep others out."""
        kept: deque[Call] = deque()
        for call in self._calls:
            if call.future.cancelled():
                call.future.set_running_or_notify_cancel()  # until then, who waits for the future goes on waiting
            else:
                kept.append(call)
        self._calls = kept
