"""Counts and times of a batcher, summed over its own threads and its callers'."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from threading import Lock

__all__ = ["BatcherStats", "Counter"]


@dataclass(frozen=True, kw_only=True)
class BatcherStats:
    """Counts and times of a batcher since it was made.

    Attributes:
        calls: Number of calls that have been answered, failures included.
        failures: Number of calls that were answered with an error.
        batches: Number of batches that have been encoded.
        queue_depth: Number of calls that wait or load at this moment.
        waiting_seconds: Time from the arrival of calls to the start of their batch, without loading, in seconds,
            summed over all calls.
        loading_seconds: Time for reading and decoding, in seconds, summed over all threads, the callers' included;
            0 for texts.
        encoding_seconds: Time of the model, and for texts of the tokenizer, in seconds, summed over all batches.
    """

    calls: int = 0
    failures: int = 0
    batches: int = 0
    queue_depth: int = 0
    waiting_seconds: float = 0.0
    loading_seconds: float = 0.0
    encoding_seconds: float = 0.0


class Counter:
    """Adds counts and times of several threads.

    Attributes:
        stats: Sums until now, without the queue's depth; replaced as a whole, so that reading needs no lock.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.stats = BatcherStats()

    def count(self, more: BatcherStats) -> None:
        """Add counts and times to the sums; any thread may call this.

        Args:
            more: Counts and times to add.
        """
        with self._lock:
            before = asdict(self.stats)
            self.stats = BatcherStats(**{name: before[name] + value for name, value in asdict(more).items()})
