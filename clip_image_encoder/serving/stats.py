"""Counts and times of a batcher, added up by its threads and its callers'."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from threading import Lock

__all__ = ["BatcherStats", "Counter"]


@dataclass(frozen=True, kw_only=True)
class BatcherStats:
    """What a batcher has done since it was made; the times are sums, in seconds.

    Attributes:
        calls: Number of calls that have been answered, failures included.
        failures: Number of calls that were answered with an error.
        batches: Number of groups of calls that passed the encoder.
        queue_depth: Number of calls that wait or load now.
        waiting_seconds: Time of all calls from their arrival in the queue to the start of their batch, without loading.
        loading_seconds: Time of all threads, the callers' own included, for reading and decoding; 0 for texts.
        encoding_seconds: Time of the model, and for texts of the tokenizer.
    """

    calls: int = 0
    failures: int = 0
    batches: int = 0
    queue_depth: int = 0
    waiting_seconds: float = 0.0
    loading_seconds: float = 0.0
    encoding_seconds: float = 0.0


class Counter:
    """Adds counts and times up.

    Attributes:
        stats: All until now, but for the depth of the queue; they are replaced as a whole.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self.stats = BatcherStats()

    def count(self, more: BatcherStats) -> None:
        """Add counts and times to those until now; any thread may."""
        with self._lock:
            before = asdict(self.stats)
            self.stats = BatcherStats(**{name: before[name] + value for name, value in asdict(more).items()})
