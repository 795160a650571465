"""The thread of a batcher: draws calls, group by group, and answers them."""

from __future__ import annotations

import atexit
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from threading import Lock, Thread

from clip_image_encoder.errors import ClosedError
from clip_image_encoder.serving.answers import Encode, answers_of
from clip_image_encoder.serving.waiting_room import Call, WaitingRoom

__all__ = ["BatcherStats", "ServingThread", "Tally"]


@dataclass(frozen=True, kw_only=True)
class BatcherStats:
    """What a batcher has done since it was made; the times are sums, in seconds.

    Attributes:
        calls: number of calls that have been answered, failures included.
        failures: number of calls that were answered with an error.
        batches: number of groups of calls that passed the encoder.
        queue_depth: number of calls that wait now.
        waiting_seconds: time of all calls from their arrival in the queue to the start of their batch.
        loading_seconds: time of all threads, the callers' own included, for reading and decoding; 0 for texts.
        encoding_seconds: time of the model, and for texts of the tokenizer.
    """

    calls: int = 0
    failures: int = 0
    batches: int = 0
    queue_depth: int = 0
    waiting_seconds: float = 0.0
    loading_seconds: float = 0.0
    encoding_seconds: float = 0.0


class Tally:
    """Counts that any thread adds to and reads, whole."""

    def __init__(self) -> None:
        self.stats = BatcherStats()
        self._lock = Lock()

    def add(self, more: BatcherStats) -> None:
        """Add counts and times to those until now."""
        with self._lock:
            before = self.stats
            self.stats = BatcherStats(
                calls=before.calls + more.calls,
                failures=before.failures + more.failures,
                batches=before.batches + more.batches,
                waiting_seconds=before.waiting_seconds + more.waiting_seconds,
                loading_seconds=before.loading_seconds + more.loading_seconds,
                encoding_seconds=before.encoding_seconds + more.encoding_seconds,
            )


class ServingThread(Thread):
    """Answers calls until their room is closed; however it ends, no call is left waiting.

    It is a daemon and knows nothing of its batcher, so that neither keeps the other or the program alive.
    The program's end waits for it, since a thread that is cut off inside a model can crash the process.

    Args:
        room: where the calls wait.
        encode: makes the vectors of a group.
        tally: counts what is done.
        size: number of calls in a group, at most.
        wait: seconds that a group waits for more calls after its first.
    """

    def __init__(self, room: WaitingRoom, encode: Encode, tally: Tally, size: int, wait: float) -> None:
        super().__init__(name="clip_image_encoder.serving", daemon=True)
        self._room, self._encode, self._tally = room, encode, tally
        self._size, self._wait = size, wait

    def start(self) -> None:
        """Begin to answer calls."""
        super().start()
        atexit.register(self._end)

    def run(self) -> None:
        """Answer calls, group by group."""
        try:
            # A method for each group: while the next is awaited, nobody's image is kept in memory.
            while (first := self._room.first()) is not None:
                self._serve(first, self._room.others(self._size - 1, self._wait))
                del first
        finally:
            self._room.close(finish=False)
            atexit.unregister(self._end)

    def _serve(self, first: Call, others: Iterable[Call]) -> None:
        group, items = [first], [first.item]
        waited = 0.0

        def arriving() -> Generator[object]:
            nonlocal waited
            # The loading threads begin with each call as it comes, while others are awaited.
            yield first.item
            for call in others:
                group.append(call)
                items.append(call.item)
                yield call.item
            begun = time.monotonic()
            waited = sum(begun - call.arrived for call in group)

        try:
            answers = answers_of(self._encode, arriving(), items)
            # Before the callers know, so that the counts are never behind them.
            self._tally.add(
                BatcherStats(
                    calls=len(group),
                    failures=sum(isinstance(outcome, Exception) for outcome in answers.outcomes),
                    batches=1,
                    waiting_seconds=waited,
                    loading_seconds=answers.loading_seconds,
                    encoding_seconds=answers.encoding_seconds,
                )
            )
            for call, outcome in zip(group, answers.outcomes, strict=True):
                if isinstance(outcome, Exception):
                    call.future.set_exception(outcome)
                else:
                    call.future.set_result(outcome)
        finally:
            for call in group:
                if not call.future.done():
                    call.future.set_exception(ClosedError("the batcher broke down, see the log; make another one"))

    def _end(self) -> None:
        self._room.leave()
        self.join()
