"""Queue of a batcher's calls, from their arrival through loading to the worker."""

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
    """Takes calls from any thread, has them loaded, and gives those that are loaded to one worker.

        put ─▶ arrived ─▶ loading ─▶ ready ─▶ get, get_more

    A call that takes long to load does not delay those after it. Without a pool, calls are ready when they arrive.
    The thread that removes a call from arrived, loading or ready, with the lock held, is the one that answers it.

    Args:
        max_calls: Largest number of calls that wait or load; None sets no limit.
        pool: Threads that load calls; None if the encoder loads its inputs by itself.
        batch_size: Largest number of calls in a batch.

    Attributes:
        closed: Whether the queue takes no more calls.
    """

    def __init__(self, max_calls: int | None, pool: LoadingPool | None, *, batch_size: int) -> None:
        self._max_calls, self._pool = max_calls, pool
        # As in a stream, at most two batches, and one more image for each thread, are in memory as pixels. The other
        # calls wait with the content of their files, which is smaller.
        self._ahead = 2 * batch_size + (pool.threads if pool else 0)
        self._arrived: deque[Call] = deque()
        self._loading: dict[Call, None] = {}
        self._ready: deque[Call] = deque()
        self._lock = Lock()
        # Gets a None when a call is ready, when one has failed to load, and when no more will come: the worker waits
        # for these. A SimpleQueue, since its put() is reentrant: a finalizer may call it at any place of a thread.
        self._signals: SimpleQueue[None] = SimpleQueue()
        self._stopped = False
        self.closed = False

    def __len__(self) -> int:
        return len(self._arrived) + len(self._loading) + len(self._ready)

    def check(self) -> None:
        """Check that the queue takes a call now.

        Raises:
            ClosedError: The queue takes no more calls.
            QueueFullError: `max_calls` calls wait or load already.
        """
        with self._lock:
            self._check()

    def put(self, item: object) -> Future[Vectors]:
        """Add a call, and return its future.

        Args:
            item: Image or text of the call.

        Raises:
            ClosedError: The queue takes no more calls.
            QueueFullError: `max_calls` calls wait or load already.
        """
        call = Call(item)
        with self._lock:
            self._check()
            (self._arrived if self._pool else self._ready).append(call)
            to_load = self._take_to_load()
        if not self._pool:
            self._signals.put(None)
        self._load(to_load)
        return call.future

    def get(self) -> Call | None:
        """Wait for the next call that is ready, and return it; None means that no more will come.

        The call can't be cancelled any more. Calls that were cancelled before are dropped.
        """
        while not self._is_done():
            self._signals.get()
            call = self._next()
            if call is not None and call.future.set_running_or_notify_cancel():
                return call
        return None

    def get_more(self, most: int, deadline: float) -> Generator[Call]:
        """Yield further calls for a batch, each as soon as it is ready.

        Args:
            most: Largest number of calls.
            deadline: Time until which to wait, in seconds on the clock of `time.monotonic`; calls that are ready by
                then are still yielded.
        """
        while most > 0 and not self._is_done():
            try:
                self._signals.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                return
            call = self._next()
            if call is not None and call.future.set_running_or_notify_cancel():
                most -= 1
                yield call

    def close(self, *, finish: bool) -> None:
        """Take no more calls.

        Args:
            finish: Whether calls that wait or load may still be got; False lets them fail with ClosedError.
        """
        with self._lock:
            self.closed = True
            failed = [] if finish else [*self._ready, *self._loading, *self._arrived]
            if not finish:
                for place in (self._ready, self._loading, self._arrived):
                    place.clear()
        self._signals.put(None)
        # Outside of the lock: set_exception runs the callers' callbacks, which may call this queue.
        for call in failed:
            if call.future.set_running_or_notify_cancel():
                call.future.set_exception(ClosedError("the batcher was closed before this call began"))

    def stop(self) -> None:
        """Let the worker get no more calls; this takes no lock and does not wait, so a finalizer may call it."""
        self._stopped = self.closed = True
        self._signals.put(None)

    def _is_done(self) -> bool:
        if self._stopped:
            return True
        with self._lock:
            return self.closed and not len(self)

    def _next(self) -> Call | None:
        with self._lock:
            call = None if self._stopped or not self._ready else self._ready.popleft()
            to_load = self._take_to_load()
        self._load(to_load)
        return call

    def _take_to_load(self) -> list[Call]:
        """Move as many calls as may be in memory as pixels from arrived to loading, and return them."""
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
        """Move a call from loading to ready, or drop it if it failed; return whether it was still loading."""
        with self._lock:
            was_there = call in self._loading
            self._loading.pop(call, None)
            if was_there and is_loaded:
                self._ready.append(call)
            to_load = self._take_to_load()
        self._signals.put(None)
        self._load(to_load)
        return was_there

    def _check(self) -> None:
        if self.closed:
            raise ClosedError("the batcher is closed; make another one")
        if self._max_calls is not None and len(self) >= self._max_calls:
            self._drop_cancelled()
            if len(self) >= self._max_calls:
                raise QueueFullError(f"{self._max_calls} calls wait already; try again later")

    def _drop_cancelled(self) -> None:
        """Remove cancelled calls, so that they don't count as waiting."""
        for call in [*self._arrived, *self._loading, *self._ready]:
            if call.future.cancelled():
                call.future.set_running_or_notify_cancel()  # wakes threads in wait() and as_completed()
        self._arrived = deque(call for call in self._arrived if not call.future.cancelled())
        self._loading = {call: None for call in self._loading if not call.future.cancelled()}
        self._ready = deque(call for call in self._ready if not call.future.cancelled())
