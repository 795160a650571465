"""The thread of a batcher: draws calls group by group, encodes each group, and answers each call."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import asdict, dataclass
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from clip_image_encoder._messages import without_tracebacks
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.batches import EncodedBatch
from clip_image_encoder.errors import (
    BackendError,
    ClosedError,
    ConfigurationError,
    ContractError,
    ImageError,
)
from clip_image_encoder.images import ImageInput
from clip_image_encoder.images.describe import short_text
from clip_image_encoder.serving.waiting_room import Call, WaitingRoom

if TYPE_CHECKING:
    from clip_image_encoder.text import TextEncoder

__all__ = ["BatcherStats", "ImageStream", "Worker"]

_logger = logging.getLogger("clip_image_encoder.serving")


@runtime_checkable
class ImageStream(Protocol):
    """What a batcher asks of an encoder of images: an `ImageEncoder`, a `CachedEncoder`, or one of yours.

    One that has an `ImageLoader` as its `loader` is given images as `loader.read` returns them.
    """

    def stream(
        self, images: Iterable[ImageInput], batch_size: int, *, show_progress: bool | None
    ) -> Generator[EncodedBatch]:
        """Encode images batch by batch, as `ImageEncoder.stream` does."""
        ...


@dataclass(frozen=True, kw_only=True)
class BatcherStats:
    """What a batcher has done since it was made; the times are sums, in seconds.

    Attributes:
        calls: Number of calls that have been answered, failures included.
        failures: Number of calls that were answered with an error.
        batches: Number of groups of calls that passed the encoder.
        queue_depth: Number of calls that wait now.
        waiting_seconds: Time of all calls from their arrival in the queue to the start of their batch.
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


class Worker(Thread):
    """Answers calls until their room is closed; however it ends, no call is left waiting.

    It is a daemon and knows nothing of its batcher, so that neither keeps the other or the program alive.
    The program's end waits for it, since a thread that is cut off inside a model can crash the process.

    Args:
        room: Where the calls wait.
        encoder: Makes the vectors of a group.
        size: Number of calls in a group, at most.
        wait: Seconds that a group waits for more calls after its first.

    Attributes:
        stats: Counts and times until now, all but the queue's; they are replaced as a whole, by `count`.
    """

    def __init__(self, room: WaitingRoom, encoder: ImageStream | TextEncoder, *, size: int, wait: float) -> None:
        super().__init__(name="clip_image_encoder.serving", daemon=True)
        self._room, self._encoder, self._size, self._wait = room, encoder, size, wait
        self._lock = Lock()
        self.stats = BatcherStats()

    def count(self, more: BatcherStats) -> None:
        """Add counts and times to those until now; any thread may."""
        with self._lock:
            before = asdict(self.stats)
            self.stats = BatcherStats(**{name: before[name] + value for name, value in asdict(more).items()})

    def start(self) -> None:
        """Begin to answer calls."""
        super().start()
        atexit.register(self._end)

    def run(self) -> None:
        """Answer calls, group by group."""
        try:
            # A method for each group: while the next is awaited, no image is kept in memory.
            while (first := self._room.first()) is not None:
                self._serve(first)
                del first
        finally:
            self._room.close(finish=False)
            atexit.unregister(self._end)

    def _serve(self, first: Call) -> None:
        """Answer a call, and with it those that come before its group begins."""
        group, begun = [first], time.monotonic()

        def arriving() -> Generator[object]:
            nonlocal begun
            # The loading threads begin with each call as it comes, while others are awaited.
            yield first.item
            for call in self._room.others(self._size - 1, self._wait):
                group.append(call)
                begun = time.monotonic()
                yield call.item
            # A full group may have passed the model before the encoder asks whether there are more.
            if len(group) < self._size:
                begun = time.monotonic()

        try:
            outcomes = self._outcomes(arriving(), group)
            # Before the callers know, so that the counts are never behind them.
            self.count(
                BatcherStats(
                    calls=len(group),
                    failures=sum(isinstance(outcome, Exception) for outcome in outcomes),
                    batches=1,
                    waiting_seconds=sum(begun - call.arrived for call in group),
                )
            )
            for call, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    call.future.set_exception(outcome)
                else:
                    call.future.set_result(outcome)
        finally:
            for call in group:
                if not call.future.done():
                    call.future.set_exception(ClosedError("the batcher broke down, see the log; make another one"))

    def _outcomes(self, items: Iterable[object], group: Sequence[Call]) -> Sequence[Vectors | Exception]:
        """Return a vector or an error for each call of a group, whatever the encoder does.

        Args:
            items: The images or texts of the group.
            group: Its calls; it may grow while the encoder draws the items.
        """
        try:
            outcomes = self._encode(items)
            if len(outcomes) != len(group):
                raise ContractError(f"the encoder gave {len(outcomes)} vectors for {len(group)} inputs")
        except BaseException as raised:  # a tokenizer's panic, a plugin's SystemExit: its caller learns of it
            if not isinstance(raised, ConfigurationError):
                _logger.exception("a batch of %d calls failed", len(group))
            error = _for_callers(raised)
        else:
            return outcomes
        if len(group) == 1 or isinstance(error, BackendError):
            return [error] * len(group)
        # One of them may be to blame: each is asked alone.
        return [outcome for call in group for outcome in self._outcomes([call.item], [call])]

    def _encode(self, items: Iterable[Any]) -> Sequence[Vectors | ImageError]:
        """Return a vector or an error for each item; what is no image or text at all is for the encoder to say."""
        batches = list(self._encoder.stream(items, self._size, show_progress=False))
        self.count(
            BatcherStats(
                loading_seconds=sum(batch.loading_seconds for batch in batches),
                encoding_seconds=sum(batch.encoding_seconds for batch in batches),
            )
        )
        outcomes = (outcome for batch in batches for _, outcome in batch.outcomes())
        # To its caller each item is the only one, and each vector is the caller's own.
        return [outcome.at(0) if isinstance(outcome, ImageError) else outcome.copy() for outcome in outcomes]

    def _end(self) -> None:
        self._room.leave()
        self.join()


def _for_callers(error: BaseException) -> Exception:
    """Return an error that may be raised to callers: what is no Exception would end their threads or loops."""
    if isinstance(error, Exception):
        return without_tracebacks(error)
    told = ContractError(f"the encoder raised {short_text(repr(error))}")
    told.__cause__ = error
    return without_tracebacks(told)
