"""MicroBatcher: takes single calls of many threads and coroutines, which are loaded and then encoded in batches.

```text
callers' threads      loading threads     one worker
encode ─▶ CallQueue ─▶ LoadingPool ─▶ CallQueue ─▶ Worker ─▶ encoder
   ▲                                                 │
   └──────────────────── future ◀────────────────────┘
```

Shutting down goes in the same order. First the queue takes no more calls; those that wait are answered, or fail with
ClosedError. When none is left, the worker ends, then the loading threads, which by then hold no call that anyone
waits for. `close` returns after the worker has ended.
"""

from __future__ import annotations

import asyncio
import reprlib
import time
import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar, overload

from PIL import Image

from clip_image_encoder._arguments import check_count, check_duration
from clip_image_encoder._forks import in_forks
from clip_image_encoder._prepared import Prepares
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ConfigurationError, ImageError
from clip_image_encoder.images import ImageInput, ImageLoader
from clip_image_encoder.images.several import has_method
from clip_image_encoder.serving.loading import LoadingPool
from clip_image_encoder.serving.queue import CallQueue
from clip_image_encoder.serving.stats import BatcherStats, Counter
from clip_image_encoder.serving.worker import ImageStream, Worker

if TYPE_CHECKING:
    from clip_image_encoder.text import TextEncoder

__all__ = ["MicroBatcher"]

_Item = TypeVar("_Item")


class MicroBatcher(Generic[_Item]):
    """Lets many threads and coroutines share an encoder: their single calls are encoded in batches.

    Calls that arrive within `max_wait_ms` of each other, or while the model is busy, form a batch. Each
    call gets its own vector or its own error. A failure of the device reaches the calls of one batch; the next
    batch is tried again. In a forked process the batcher starts with an empty queue and new threads.

    Files are read on the callers' own threads. Images are decoded as their calls arrive, on as many threads as the
    encoder's `num_workers`, at least two, also while the model computes. A batch is made of the images that are
    decoded, so that one that takes long does not delay the others.

    Args:
        encoder: An `ImageEncoder`, a `CachedEncoder` or a `TextEncoder`; it can be used beside the batcher.
        max_batch_size: Largest number of calls in a batch, 32 by default.
        max_wait_ms: Time that an idle model waits for more calls after the first has arrived, in milliseconds, 5 by
            default and at most a day.
        max_queue: Largest number of calls that wait or load, with the content of their files in memory, 1024 by
            default; one more raises QueueFullError. None sets no limit: callers wait until the model gets to them.

    Raises:
        ConfigurationError: An argument is out of its range, or `encoder` is not an encoder.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.serving import MicroBatcher
        >>> images = [Image.new("RGB", (64, 64), color) for color in ("red", "green", "blue")]
        >>> with MicroBatcher(ImageEncoder("tiny-shapes")) as batcher, ThreadPoolExecutor(3) as callers:
        ...     vectors = list(callers.map(batcher.encode, images))
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
        self._size = check_count(max_batch_size, name="max_batch_size")
        self._wait = check_duration(max_wait_ms, name="max_wait_ms", unit="milliseconds", may_be_0=True) / 1000
        self._max_queue = None if max_queue is None else check_count(max_queue, name="max_queue")
        if not has_method(encoder, "stream"):
            given = reprlib.repr(encoder)
            raise ConfigurationError(f"encoder must be an ImageEncoder, a CachedEncoder or a TextEncoder, not {given}")
        self._encoder = encoder
        loader = getattr(encoder, "loader", None)
        self._loader = loader if isinstance(loader, ImageLoader) else None
        self._begin()
        in_forks(self, MicroBatcher._begin_again)

    def encode(self, item: _Item) -> Vectors:
        """Encode an image or a text, and return its vector `(d,)` float32; the call blocks its thread until then.

        Args:
            item: Image or text, as the encoder takes it.

        Raises:
            ImageError: The image can't be read.
            ConfigurationError: The text is not a string.
            QueueFullError: `max_queue` calls wait already.
            ClosedError: The batcher is closed.
            BackendError: The model or its device failed.
            ContractError: The encoder broke its protocol.
        """
        return self._queue.put(self._read(item)).result()

    async def aencode(self, item: _Item) -> Vectors:
        """Encode an image or a text without blocking asyncio's event loop, and return its vector `(d,)` float32.

        A call that is cancelled while it waits is not encoded. Files are read on a thread of the loop's executor.

        Args:
            item: Image or text, as the encoder takes it.

        Raises:
            ConfigurationError: The call is not made in asyncio's event loop.
            EncoderError: Any error that `encode` raises.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError(
                "aencode needs asyncio's event loop; elsewhere, call encode on a thread, such as with "
                "anyio.to_thread.run_sync(batcher.encode, image)"
            ) from None
        in_memory = self._loader is None or _is_in_memory(item)
        read = self._read(item) if in_memory else await asyncio.to_thread(self._read, item)
        return await asyncio.wrap_future(self._queue.put(read))

    def close(self, *, finish: bool = True) -> None:
        """Take no more calls, and return after the last batch.

        Args:
            finish: Whether calls that wait are still encoded; False lets them fail with ClosedError.
        """
        self._queue.close(finish=finish)
        self._worker.join()

    @property
    def stats(self) -> BatcherStats:
        """Counts and times since the batcher was made."""
        return replace(self._counter.stats, queue_depth=len(self._queue))

    def __enter__(self) -> MicroBatcher[_Item]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _read(self, item: object) -> object:
        """Read a file on the caller's own thread, so that a slow disk or network does not block a loading thread."""
        self._queue.check()
        if self._loader is None:
            return item
        start = time.perf_counter()
        try:
            read = self._loader.read(item)
        except ImageError as error:
            failure = error.at(0)
        else:
            self._counter.count(BatcherStats(loading_seconds=time.perf_counter() - start))
            return read
        self._counter.count(BatcherStats(calls=1, failures=1, loading_seconds=time.perf_counter() - start))
        raise failure

    def _begin(self) -> None:
        self._counter = Counter()
        pool = LoadingPool(self._encoder, self._counter) if isinstance(self._encoder, Prepares) else None
        self._queue = CallQueue(self._max_queue, pool, batch_size=self._size)
        self._worker = Worker(self._queue, pool, self._encoder, self._counter, size=self._size, wait=self._wait)
        self._worker.start()
        # A batcher that is garbage-collected ends its worker. The finalizer may interrupt any thread anywhere, also
        # one that holds the queue's lock or that the worker waits for. So it takes no lock and does not join.
        self._finalizer = weakref.finalize(self, self._queue.stop)
        self._finalizer.atexit = False

    def _begin_again(self) -> None:
        # A forked process has no worker, and a lock that another thread held at the fork stays locked.
        self._finalizer.detach()
        closed = self._queue.closed
        self._begin()
        if closed:
            self.close()


def _is_in_memory(item: object) -> bool:
    return isinstance(item, (bytes, bytearray, memoryview, Image.Image)) or has_method(item, "__array__")
