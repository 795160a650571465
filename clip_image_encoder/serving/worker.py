"""Worker: the thread of a batcher that gets calls from the queue in batches, encodes them, and answers each."""

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
    """Protocol of image encoders that a `MicroBatcher` takes: `ImageEncoder`, `CachedEncoder`, or one of your own.

    If an encoder of your own has an `ImageLoader` as its attribute `loader`, it gets images as `loader.read` returns
    them. It loads them when their batch begins, so that a slow one delays the batch; the encoders of this library
    load images before.
    """

    def stream(
        self, images: Iterable[ImageInput], batch_size: int, *, show_progress: bool | None
    ) -> Generator[EncodedBatch]:
        """Encode images, and yield batches in their order, as `ImageEncoder.stream` does.

        Args:
            images: Images of several calls.
            batch_size: Largest number of images in a batch.
            show_progress: Whether a progress bar is shown; the batcher passes False.
        """
        ...


class Worker(Thread):
    """Encodes calls until their queue is closed; when it ends, also by an error, all calls have been answered.

    The thread is a daemon and holds no reference to its batcher, so that the batcher can be garbage-collected and the
    program can end. The program's end waits for the current batch, since a thread that is stopped inside a model can
    crash the process.

    Args:
        queue: Queue of the calls.
        pool: Threads that load the calls, closed when the worker ends; None if the encoder loads by itself.
        encoder: Encoder that makes the vectors of a batch.
        counter: Counter of the batcher, to which calls, batches and times are added.
        size: Largest number of calls in a batch.
        wait: Time that a batch waits for more calls after the arrival of its first, in seconds.
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
        """Start the thread, and stop it at the program's end."""
        super().start()
        atexit.register(self._end)

    def run(self) -> None:
        """Answer calls, batch by batch."""
        try:
            # Each batch is a call of its own, whose local variables, and with them the images, are freed when it ends.
            while (first := self._queue.get()) is not None:
                self._serve(first)
                del first
        finally:
            # First the queue: it fails the calls that are left, and loading threads can add none to it. Then the pool.
            self._queue.close(finish=False)
            if self._pool:
                self._pool.close()
            atexit.unregister(self._end)

    def _serve(self, first: Call) -> None:
        """Answer a call, and with it those that are ready before its batch begins."""
        group = [first]
        try:
            group.extend(self._queue.get_more(self._size - 1, first.arrived + self._wait))
            begun = time.monotonic()
            outcomes = self._outcomes(group)
            # Counted before the callers get their answers, so that `stats` always includes them.
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
                    call.future.set_exception(ClosedError("the batcher has failed, see the log; make another one"))

    def _outcomes(self, group: Sequence[Call]) -> Sequence[Vectors | Exception]:
        """Return a vector or an error for each call of a batch, also if the encoder raises."""
        try:
            outcomes = self._encode([call.item for call in group])
            if len(outcomes) != len(group):
                raise ContractError(f"the encoder gave {len(outcomes)} vectors for {len(group)} inputs")
        except BaseException as raised:  # also a panic of a Rust tokenizer or a plugin's SystemExit: callers get it
            if not isinstance(raised, ConfigurationError):
                _logger.exception("a batch of %d calls failed", len(group))
            error = for_callers(raised)
        else:
            return outcomes
        if len(group) == 1 or isinstance(error, BackendError):
            return [error] * len(group)
        # One call may have caused the error for all, so each is encoded alone.
        return [outcome for call in group for outcome in self._outcomes([call])]

    def _encode(self, items: list[Any]) -> Sequence[Vectors | ImageError]:
        """Return a vector or an error for each item."""
        batches = list(self._encoder.stream(items, self._size, show_progress=False))
        self._counter.count(
            BatcherStats(
                loading_seconds=sum(batch.loading_seconds for batch in batches),
                encoding_seconds=sum(batch.encoding_seconds for batch in batches),
            )
        )
        outcomes = (outcome for batch in batches for _, outcome in batch.outcomes())
        # Index 0, since each caller passed one item. A copy, since a row would keep the whole batch in memory.
        return [outcome.at(0) if isinstance(outcome, ImageError) else outcome.copy() for outcome in outcomes]

    def _end(self) -> None:
        self._queue.stop()
        self.join()
