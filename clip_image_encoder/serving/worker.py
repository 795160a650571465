"""The thread of a batcher that encodes: it gets calls group by group, and answers each call."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Generator, Iterable, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

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
from clip_image_encoder.serving.call import Call, for_callers
from clip_image_encoder.serving.loading import LoadingPool
from clip_image_encoder.serving.queue import CallQueue
from clip_image_encoder.serving.stats import BatcherStats, Counter

if TYPE_CHECKING:
    from clip_image_encoder.text import TextEncoder

__all__ = ["ImageStream", "Worker"]

_logger = logging.getLogger("clip_image_encoder.serving")


@runtime_checkable
class ImageStream(Protocol):
    """What a batcher asks of an encoder of images: an `ImageEncoder`, a `CachedEncoder`, or one of yours.

    One that has an `ImageLoader` as its `loader` is given images as `loader.read` returns them. It loads them when
    their group begins: one that takes long holds the group up, which an encoder of this library does not.
    """

    def stream(
        self, images: Iterable[ImageInput], batch_size: int, *, show_progress: bool | None
    ) -> Generator[EncodedBatch]:
        """Encode images batch by batch, as `ImageEncoder.stream` does."""
        ...


class Worker(Thread):
    """Encodes calls until their queue is closed; however it ends, no call is left waiting.

    It is a daemon and knows nothing of its batcher, so that neither keeps the other or the program alive.
    The program's end waits for it, since a thread that is cut off inside a model can crash the process.

    Args:
        queue: Has the calls.
        pool: Loads them, and ends with the worker; None where the encoder does all by itself.
        encoder: Makes the vectors of a group.
        counter: Of the batcher.
        size: Number of calls in a group, at most.
        wait: Seconds after the arrival of its first call that a group waits for more.
    """

    def __init__(
        self,
        queue: CallQueue,
        pool: LoadingPool | None,
        encoder: ImageStream | TextEncoder,
        counter: Counter,
        *,
        size: int,
        wait: float,
    ) -> None:
        super().__init__(name="clip_image_encoder.serving", daemon=True)
        self._queue, self._pool, self._encoder, self._counter = queue, pool, encoder, counter
        self._size, self._wait = size, wait

    def start(self) -> None:
        """Begin to answer calls."""
        super().start()
        atexit.register(self._end)

    def run(self) -> None:
        """Answer calls, group by group."""
        try:
            # A method for each group: while the next is awaited, no image is kept in memory.
            while (first := self._queue.get()) is not None:
                self._serve(first)
                del first
        finally:
            self._queue.close(finish=False)
            if self._pool:
                self._pool.close()
            atexit.unregister(self._end)

    def _serve(self, first: Call) -> None:
        """Answer a call, and with it those that are ready before its group begins."""
        group = [first]
        try:
            group.extend(self._queue.get_more(self._size - 1, first.arrived + self._wait))
            begun = time.monotonic()
            outcomes = self._outcomes(group)
            # Before the callers know, so that the counts are never behind them.
            self._counter.count(
                BatcherStats(
                    calls=len(group),
                    failures=sum(isinstance(outcome, Exception) for outcome in outcomes),
                    batches=1,
                    waiting_seconds=sum(begun - call.arrived - call.loading_seconds for call in group),
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

    def _outcomes(self, group: Sequence[Call]) -> Sequence[Vectors | Exception]:
        """Return a vector or an error for each call of a group, whatever the encoder does."""
        try:
            outcomes = self._encode([call.item for call in group])
            if len(outcomes) != len(group):
                raise ContractError(f"the encoder gave {len(outcomes)} vectors for {len(group)} inputs")
        except BaseException as raised:  # a tokenizer's panic, a plugin's SystemExit: its caller learns of it
            if not isinstance(raised, ConfigurationError):
                _logger.exception("a batch of %d calls failed", len(group))
            error = for_callers(raised)
        else:
            return outcomes
        if len(group) == 1 or isinstance(error, BackendError):
            return [error] * len(group)
        # One of them may be to blame: each is asked alone.
        return [outcome for call in group for outcome in self._outcomes([call])]

    def _encode(self, items: list[Any]) -> Sequence[Vectors | ImageError]:
        """Return a vector or an error for each item; what is no image or text at all is for the encoder to say."""
        batches = list(self._encoder.stream(items, self._size, show_progress=False))
        self._counter.count(
            BatcherStats(
                loading_seconds=sum(batch.loading_seconds for batch in batches),
                encoding_seconds=sum(batch.encoding_seconds for batch in batches),
            )
        )
        outcomes = (outcome for batch in batches for _, outcome in batch.outcomes())
        # To its caller each item is the only one, and each vector is the caller's own.
        return [outcome.at(0) if isinstance(outcome, ImageError) else outcome.copy() for outcome in outcomes]

    def _end(self) -> None:
        self._queue.leave()
        self.join()
