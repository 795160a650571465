"""Where single calls wait until a batch of them begins."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition

from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ClosedError, QueueFullError

__all__ = ["Call", "WaitingRoom"]


@dataclass(frozen=True, eq=False)
class Call:
    """One call that waits.

    Attributes:
        item: an image or a text.
        future: gets its vector `(d,)` or its error.
        arrived: on the clock of `time.monotonic`, in seconds.
    """

    item: object
    future: Future[Vectors] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)


class WaitingRoom:
    """A queue that hands out its calls in the order of their arrival.

    Args:
        max_calls: that may wait; None is any number.
    """

    def __init__(self, max_calls: int | None) -> None:
        self._max_calls = max_calls
        self._calls: deque[Call] = deque()
        self._changed = Condition()
        self.closed = False

    def __len__(self) -> int:
        return len(self._calls)

    def enter(self, item: object) -> Future[Vectors]:
        """Return the future of a new call.

        Raises:
            ClosedError: nothing is taken any more.
            QueueFullError: too many wait.
        """
        call = Call(item)
        with self._changed:
            if self.closed:
                raise ClosedError("the batcher is closed")
            if self._max_calls is not None and len(self._calls) >= self._max_calls:
                self._drop_cancelled()
                if len(self._calls) >= self._max_calls:
                    raise QueueFullError(f"{self._max_calls} calls wait already; try again later")
            self._calls.append(call)
            self._changed.notify()
        return call.future

    def first(self) -> Call | None:
        """Return the next call, as soon as there is one, or None when the room is closed and empty.

        From here on it can't be cancelled; calls that were cancelled before are dropped.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._calls or self.closed)
                if not self._calls:
                    return None
                call = self._calls.popleft()
            if call.future.set_running_or_notify_cancel():
                return call

    def others(self, most: int, wait: float) -> Generator[Call]:
        """Yield the calls after the first, each as soon as there is one, for `wait` seconds in all.

        Args:
            most: how many, at most.
            wait: 0 yields the calls that are here already.
        """
        deadline = time.monotonic() + wait
        while most > 0:
            with self._changed:
                self._changed.wait_for(lambda: self._calls or self.closed, max(0.0, deadline - time.monotonic()))
                if not self._calls:
                    return
                call = self._calls.popleft()
            if call.future.set_running_or_notify_cancel():
                most -= 1
                yield call

    def close(self, *, finish: bool) -> None:
        """Take no more calls, and fail those that wait unless they are to be finished."""
        with self._changed:
            self.closed = True
            left = [] if finish else list(self._calls)
            if not finish:
                self._calls.clear()
            self._changed.notify_all()
        # Their callbacks are the callers' own, and run without the lock.
        for call in left:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(ClosedError("the batcher was closed before this call began"))

    def _drop_cancelled(self) -> None:
        """Make room: callers who gave up don't keep others out."""
        kept: deque[Call] = deque()
        for call in self._calls:
            if call.future.cancelled():
                call.future.set_running_or_notify_cancel()  # until then, who waits for the future goes on waiting
            else:
                kept.append(call)
        self._calls = kept
