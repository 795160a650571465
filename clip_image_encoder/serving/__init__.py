"""Many callers, one model: single calls that arrive together become one batch."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from threading import Thread
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, overload, runtime_checkable

from clip_image_encoder.arguments import check_batch_size
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.forks import in_forks
from clip_image_encoder.images import ImageInput
from clip_image_encoder.pipeline import EncodedBatch
from clip_image_encoder.serving.waiting_room import Call, WaitingRoom
from clip_image_encoder.tracebacks import without_tracebacks

if TYPE_CHECKING:
    from clip_image_encoder.text import TextEncoder

__all__ = ["BatcherStats", "ImageStream", "MicroBatcher"]

_Item = TypeVar("_Item")
_logger = logging.getLogger(__name__)


@runtime_checkable
class ImageStream(Protocol):
    """What a batcher asks of an encoder of images: an `ImageEncoder`, a `CachedEncoder`, or one of yours."""

    def stream(
        self, images: Iterable[ImageInput], batch_size: int, *, show_progress: bool | None
    ) -> Generator[EncodedBatch]:
        """Encode images batch by batch, as `ImageEncoder.stream` does."""
        ...


@dataclass(frozen=True, kw_only=True)
class BatcherStats:
    """What a batcher has done since it was made; the times are sums, in seconds.

    Attributes:
        calls: calls that have been answered, failures included.
        failures: calls that were answered with an error.
        batches: times that the encoder was called.
        queue_depth: calls that wait now.
        waiting_seconds: of all calls, from their arrival to the start of their batch.
        loading_seconds: of all loading threads, for reading and decoding; 0 for texts.
        encoding_seconds: of the model, and for texts of the tokenizer.
    """

    calls: int = 0
    failures: int = 0
    batches: int = 0
    queue_depth: int = 0
    waiting_seconds: float = 0.0
    loading_seconds: float = 0.0
    encoding_seconds: float = 0.0


class MicroBatcher(Generic[_Item]):
    """Lets many threads and coroutines share an encoder as if each had it for itself.

    Calls that arrive within `max_wait_ms` of each other, or while the model is busy, pass it together. A
    call gets its own vector or its own error; a failure of the device reaches the calls of that batch, and
    the next batch is tried anew. In a forked process the batcher begins afresh.

    Args:
        encoder: an `ImageEncoder`, a `CachedEncoder` or a `TextEncoder`; it stays usable beside the batcher.
        max_batch_size: calls that pass the model at a time.
        max_wait_ms: how long an idle model waits for more calls after the first, in milliseconds.
        max_queue: calls that may wait; one more raises QueueFullError. None lets every caller wait for its
            turn, which slows callers down to what the model can do.

    Raises:
        ConfigurationError: an argument is out of its range.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.serving import MicroBatcher
        >>> pictures = [Image.new("RGB", (64, 64), colour) for colour in ("red", "green", "blue")]
        >>> with MicroBatcher(ImageEncoder("tiny-shapes")) as batcher, ThreadPoolExecutor(3) as callers:
        ...     vectors = list(callers.map(batcher.encode, pictures))
        >>> [vector.shape for vector in vectors]
        [(64,), (64,), (64,)]
    """

    @overload
    def __init__(
        self: MicroBatcher[ImageInput],
        encoder: ImageStream,
        *,
        max_batch_size: int = ...,
        max_wait_ms: float = ...,
        max_queue: int | None = ...,
    ) -> None: ...
    @overload
    def __init__(
        self: MicroBatcher[str],
        encoder: TextEncoder,
        *,
        max_batch_size: int = ...,
        max_wait_ms: float = ...,
        max_queue: int | None = ...,
    ) -> None: ...
    def __init__(
        self,
        encoder: ImageStream | TextEncoder,
        *,
        max_batch_size: int = 32,
        max_wait_ms: float = 5.0,
        max_queue: int | None = 1024,
    ) -> None:
        if not max_wait_ms >= 0:
            raise ConfigurationError(f"max_wait_ms must be a number from 0, not {max_wait_ms!r}")
        if max_queue is not None and max_queue < 1:
            raise ConfigurationError(f"max_queue must be a positive integer or None, not {max_queue!r}")
        self._size = size = check_batch_size(max_batch_size, name="max_batch_size")
        self._encode = _for_images(encoder, size) if isinstance(encoder, ImageStream) else _for_texts(encoder, size)
        self._wait = max_wait_ms / 1000
        self._max_queue = max_queue
        self._begin()
        in_forks(self, MicroBatcher._begin_again)

    def encode(self, item: _Item) -> Vectors:
        """Return the vector `(d,)` of an image or a text, when it is there.

        Raises:
            ImageError: this image can't be read.
            QueueFullError: too many calls wait.
            ClosedError: the batcher is closed.
            BackendError: the device failed.
        """
        return self._room.enter(item).result()

    async def aencode(self, item: _Item) -> Vectors:
        """Return the vector `(d,)` of an image or a text, without blocking the event loop.

        Cancelled while it waits, the call is dropped. Raises what `encode` raises.
        """
        return await asyncio.wrap_future(self._room.enter(item))

    def close(self, *, finish: bool = True) -> None:
        """Take no more calls, and return when the last batch is done.

        Args:
            finish: answer the calls that wait; False fails them with ClosedError.
        """
        _end(self._room, self._thread, finish=finish)

    @property
    def stats(self) -> BatcherStats:
        """Counts and times until now."""
        return replace(self._tally.stats, queue_depth=len(self._room))

    def __enter__(self) -> MicroBatcher[_Item]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _begin(self) -> None:
        self._room, self._tally = WaitingRoom(self._max_queue), _Tally()
        # A daemon, and without a reference to the batcher: a program ends, and a batcher that is forgotten
        # ends its thread, also if nobody closes it.
        self._thread = Thread(
            target=_serve,
            args=(self._room, self._encode, self._tally, self._size, self._wait),
            name="clip_image_encoder.serving",
            daemon=True,
        )
        self._thread.start()
        self._finalizer = weakref.finalize(self, _end, self._room, self._thread, finish=False)

    def _begin_again(self) -> None:
        # In a forked process there is no such thread, and whoever held a lock will never release it.
        self._finalizer.detach()
        closed = self._room.closed
        self._begin()
        if closed:
            self.close()


@dataclass(frozen=True, kw_only=True)
class _Answers:
    """What became of a group: a vector or an error for each call, and the seconds that it took."""

    outcomes: Sequence[Vectors | Exception]
    loading_seconds: float = 0.0
    encoding_seconds: float = 0.0


_Encode = Callable[[Iterable[object]], _Answers]


class _Tally:
    """Counts that one thread adds to, and any thread reads, whole."""

    def __init__(self) -> None:
        self.stats = BatcherStats()

    def add(self, answers: _Answers, *, waiting_seconds: float) -> None:
        before = self.stats
        self.stats = BatcherStats(
            calls=before.calls + len(answers.outcomes),
            failures=before.failures + sum(isinstance(outcome, Exception) for outcome in answers.outcomes),
            batches=before.batches + 1,
            waiting_seconds=before.waiting_seconds + waiting_seconds,
            loading_seconds=before.loading_seconds + answers.loading_seconds,
            encoding_seconds=before.encoding_seconds + answers.encoding_seconds,
        )


def _serve(room: WaitingRoom, encode: _Encode, tally: _Tally, size: int, wait: float) -> None:
    """Answer calls, group by group, until the room is closed; the batcher's thread."""
    # A function for each group: while the next is awaited, nobody's image is kept in memory.
    while (first := room.first()) is not None:
        _serve_group(first, room.others(size - 1, wait), encode, tally)
        del first


def _serve_group(first: Call, others: Iterable[Call], encode: _Encode, tally: _Tally) -> None:
    group = [first]
    waited = 0.0

    def items() -> Generator[object]:
        nonlocal waited
        # The loading threads begin with each call as it comes, while others are awaited.
        yield first.item
        for call in others:
            group.append(call)
            yield call.item
        begun = time.monotonic()
        waited = sum(begun - call.arrived for call in group)

    try:
        answers = encode(items())
    except Exception as error:  # whatever it is, the callers learn of it, and the next group is served
        _logger.exception("a batch of %d calls failed", len(group))
        answers = _Answers(outcomes=[without_tracebacks(error)] * len(group))
    # Before the callers know, so that the counts are never behind them.
    tally.add(answers, waiting_seconds=waited)
    for call, outcome in zip(group, answers.outcomes, strict=True):
        if isinstance(outcome, Exception):
            call.future.set_exception(outcome)
        else:
            call.future.set_result(outcome)


def _for_images(encoder: ImageStream, size: int) -> _Encode:
    def encode(items: Iterable[object]) -> _Answers:
        images: Iterable[ImageInput] = items  # type: ignore[assignment]  # what is none gets an ImageError
        (batch,) = encoder.stream(images, size, show_progress=False)
        outcomes: list[Vectors | Exception] = [row.copy() for row in batch.embeddings]
        for failure in batch.failures:
            assert failure.index is not None
            outcomes[failure.index] = failure.at(0)
        return _Answers(
            outcomes=outcomes, loading_seconds=batch.loading_seconds, encoding_seconds=batch.encoding_seconds
        )

    return encode


def _for_texts(encoder: TextEncoder, size: int) -> _Encode:
    def outcomes(texts: list[str]) -> list[Vectors | Exception]:
        try:
            return [row.copy() for row in encoder.encode(texts, size)]
        except ConfigurationError as error:
            # One of them is no text, which is noticed before the model runs: each is asked alone.
            if len(texts) == 1:
                return [error]
            return [outcome for text in texts for outcome in outcomes([text])]

    def encode(items: Iterable[object]) -> _Answers:
        texts: list[str] = list(items)  # type: ignore[arg-type]  # what is none raises ConfigurationError
        start = time.perf_counter()
        encoded = outcomes(texts)
        return _Answers(outcomes=encoded, encoding_seconds=time.perf_counter() - start)

    return encode


def _end(room: WaitingRoom, thread: Thread, *, finish: bool) -> None:
    room.close(finish=finish)
    thread.join()
