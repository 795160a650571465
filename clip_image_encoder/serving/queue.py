"""The queue of single calls: from their arrival, through loading, until they are encoded in a group."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from threading import Lock

from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ClosedError, QueueFullError
from clip_image_encoder.serving.call import Call
from clip_image_encoder.serving.loading import LoadingPool

__all__ = ["CallQueue"]


class CallQueue:
    """Takes calls of any thread, has them loaded, and hands out those that are ready to one thread.

        put ─▶ arrived ─▶ loading ─▶ ready ─▶ get, get_more

    A call that takes long to load keeps none behind it from being ready first. Where nothing is loaded, calls
    are ready when they come. Whoever takes a call out of its place, with the lock held, is the one to answer it.

    Args:
        max_calls: Number of calls that may wait or load; None sets no limit.
        pool: Loads calls; None where the encoder does all by itself.
        batch_size: Number of calls that are encoded at a time, at most.
    """

    def __init__(self, max_calls: int | None, pool: LoadingPool | None, *, batch_size: int) -> None:
        self._max_calls, self._pool = max_calls, pool
        # As in a stream, two batches at a time are pixels, and one more image for each thread, which may take long.
        # The others stay files, which are smaller.
        self._ahead = 2 * batch_size + (pool.threads if pool else 0)
        self._arrived: deque[Call] = deque()
        self._loading: dict[Call, None] = {}
        self._ready: deque[Call] = deque()
        self._lock = Lock()
        # Rings when a call is ready, when one has failed to load, and when no more will come. Only this queue of
        # Python's may be put into by the garbage collector, which can interrupt a thread anywhere, also where it
        # holds the lock.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._left = False
        self.closed = False

    def __len__(self) -> int:
        return len(self._arrived) + len(self._loading) + len(self._ready)

    def check(self) -> None:
        """Check that a call would be taken now.

        Raises:
            ClosedError: No more calls are taken.
            QueueFullError: Too many calls wait.
        """
        with self._lock:
            self._check()

    def put(self, item: object) -> Future[Vectors]:
        """Return the future of a new call.

        Raises:
            ClosedError: No more calls are taken.
            QueueFullError: Too many calls wait.
        """
        call = Call(item)
        with self._lock:
            self._check()
            (self._arrived if self._pool else self._ready).append(call)
            to_load = self._take_to_load()
        if not self._pool:
            self._bell.put(None)
        self._load(to_load)
        return call.future

    def get(self) -> Call | None:
        """Return the next call that is ready, as soon as there is one; None when no more will come.

        From here on it can't be cancelled; calls that were cancelled before are dropped.
        """
        while not self._is_done():
            self._bell.get()
            call = self._next()
            if call is not None and call.future.set_running_or_notify_cancel():
                return call
        return None

    def get_more(self, most: int, deadline: float) -> Generator[Call]:
        """Yield the calls after the first, each as soon as it is ready.

        Args:
            most: Number of calls, at most.
            deadline: When to wait no longer, on the clock of `time.monotonic`; calls that are ready then still come.
        """
        while most > 0 and not self._is_done():
            try:
                self._bell.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return
            call = self._next()
            if call is not None and call.future.set_running_or_notify_cancel():
                most -= 1
                yield call

    def close(self, *, finish: bool) -> None:
        """Take no more calls, and fail those that wait or load unless they are to be finished."""
        with self._lock:
            self.closed = True
            failed = [] if finish else [*self._ready, *self._loading, *self._arrived]
            if not finish:
                for place in (self._ready, self._loading, self._arrived):
                    place.clear()
        self._bell.put(None)
        # Their callbacks are the callers' own, and run without the lock.
        for call in failed:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(ClosedError("the batcher was closed before this call began"))

    def leave(self) -> None:
        """Let the thread that asks for calls get none any more; takes no lock and waits for nothing."""
        self._left = self.closed = True
        self._bell.put(None)

    def _is_done(self) -> bool:
        if self._left:
            return True
        with self._lock:
            return self.closed and not len(self)

    def _next(self) -> Call | None:
        with self._lock:
            call = None if self._left or not self._ready else self._ready.popleft()
            to_load = self._take_to_load()
        self._load(to_load)
        return call

    def _take_to_load(self) -> list[Call]:
        """Return the calls that there is room for, which are loading from here on."""
        taken: list[Call] = []
        while self._arrived and len(self._loading) + len(self._ready) < self._ahead:
            call = self._arrived.popleft()
            self._loading[call] = None
            taken.append(call)
        return taken

    def _load(self, calls: Iterable[Call]) -> None:
        for call in calls:
            assert self._pool
            self._pool.load(call, self._settle)

    def _settle(self, call: Call, is_loaded: bool) -> bool:
        """Take a call from those that load; return whether it was still there."""
        with self._lock:
            was_there = call in self._loading
            self._loading.pop(call, None)
            if was_there and is_loaded:
                self._ready.append(call)
            to_load = self._take_to_load()
        self._bell.put(None)
        self._load(to_load)
        return was_there

    def _check(self) -> None:
        if self.closed:
            raise ClosedError("the batcher is closed")
        if self._max_calls is not None and len(self) >= self._max_calls:
            self._drop_cancelled()
            if len(self) >= self._max_calls:
                raise QueueFullError(f"{self._max_calls} calls wait already; try again later")

    def _drop_cancelled(self) -> None:
        """Make room: callers who gave up don't keep others out."""
        for call in [*self._arrived, *self._loading, *self._ready]:
            if call.future.cancelled():
                call.future.set_running_or_notify_cancel()  # until then, who waits for the future goes on waiting
        self._arrived = deque(call for call in self._arrived if not call.future.cancelled())
        self._loading = {call: None for call in self._loading if not call.future.cancelled()}
        self._ready = deque(call for call in self._ready if not call.future.cancelled())
