"""MicroBatcher: single calls that share forward passes, each with its own outcome."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import (
    BackendError,
    ClosedError,
    ConfigurationError,
    CorruptImageError,
    ImageEncoder,
    ImageNotFoundError,
    Output,
    QueueFullError,
    TextEncoder,
    UnsupportedImageError,
)
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.serving import MicroBatcher
from tests.units.serving.gated_backend import GatedBackend


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread is about to do."""
    deadline = time.monotonic() + 600
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.001)


def ready(batcher: MicroBatcher[Any]) -> int:
    """Number of calls that are loaded and wait for the model."""
    return len(batcher._queue._ready)


def pictures(count: int) -> list[np.ndarray[Any, Any]]:
    generator = np.random.default_rng(5)
    return list(generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


@pytest.fixture
def backend() -> GatedBackend:
    return GatedBackend()


def test_a_call_gives_what_the_encoder_gives() -> None:
    encoder, picture = ImageEncoder("tiny-shapes"), Image.new("RGB", (90, 60), "red")
    with MicroBatcher(encoder) as batcher:
        vector = batcher.encode(picture)
    assert vector.dtype == np.float32
    assert vector.shape == (encoder.dimension,)
    np.testing.assert_allclose(vector, encoder.encode(picture), atol=1e-6)


def test_calls_that_arrive_together_share_a_forward_pass(backend: GatedBackend) -> None:
    batcher = MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=5_000, max_batch_size=8)
    with batcher, ThreadPoolExecutor(8) as callers:
        list(callers.map(batcher.encode, pictures(8)))
    assert backend.sizes == [8]


def test_a_batch_that_is_full_does_not_wait(backend: GatedBackend) -> None:
    batcher = MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=60_000, max_batch_size=2)
    with batcher, ThreadPoolExecutor(4) as callers:
        list(callers.map(batcher.encode, pictures(4)))
    assert backend.sizes == [2, 2]


def test_what_arrives_while_the_model_is_busy_goes_together(backend: GatedBackend) -> None:
    backend.gate.clear()
    with (
        MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=0) as batcher,
        ThreadPoolExecutor(6) as callers,
    ):
        first = callers.submit(batcher.encode, pictures(1)[0])
        until(lambda: backend.waiting == 1)
        others = [callers.submit(batcher.encode, picture) for picture in pictures(5)]
        until(lambda: ready(batcher) == 5)
        assert batcher.stats.queue_depth == 5
        backend.gate.set()
        for call in (first, *others):
            call.result()
    assert backend.sizes == [1, 5]


def test_coroutines_share_a_forward_pass_too(backend: GatedBackend) -> None:
    encoder = ImageEncoder(backend=backend)

    async def all_at_once() -> list[Any]:
        with MicroBatcher(encoder, max_wait_ms=5_000, max_batch_size=8) as batcher:
            return await asyncio.gather(*(batcher.aencode(picture) for picture in pictures(8)))

    vectors = asyncio.run(all_at_once())
    assert backend.sizes == [8]
    np.testing.assert_allclose(vectors, encoder.encode(pictures(8)), atol=1e-6)


def test_the_loop_goes_on_while_a_coroutine_waits(backend: GatedBackend) -> None:
    backend.gate.clear()

    async def other_work() -> int:
        with MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=0) as batcher:
            call = asyncio.create_task(batcher.aencode(pictures(1)[0]))
            turns = 0
            while backend.waiting == 0:
                turns += 1
                await asyncio.sleep(0)
            backend.gate.set()
            await call
            return turns

    assert asyncio.run(other_work()) > 0


def test_a_bad_image_raises_to_its_own_caller_only(backend: GatedBackend, tmp_path: Path) -> None:
    good = pictures(2)
    bad: list[Any] = [tmp_path / "missing.png", b"\x89PNG\r\n\x1a\n cut short", 7]
    with MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=5_000, max_batch_size=2) as batcher:
        with ThreadPoolExecutor(5) as callers:
            calls = [callers.submit(batcher.encode, item) for item in (good[0], *bad, good[1])]
        errors = [call.exception() for call in calls]
    assert [type(error) for error in errors[1:4]] == [ImageNotFoundError, CorruptImageError, UnsupportedImageError]
    assert [errors[0], errors[4]] == [None, None]
    assert str(errors[1]).startswith("image 0 (")
    np.testing.assert_allclose(calls[4].result(), ImageEncoder(backend=backend).encode(good[1]), atol=1e-6)


def test_a_failing_device_reaches_the_calls_of_that_batch_and_the_next_is_tried_anew(backend: GatedBackend) -> None:
    backend.fault = RuntimeError("the device fell off")
    with MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=5_000, max_batch_size=3) as batcher:
        with ThreadPoolExecutor(3) as callers:
            calls = [callers.submit(batcher.encode, picture) for picture in pictures(3)]
        for call in calls:
            with pytest.raises(BackendError, match="fell off"):
                call.result()
        backend.fault = None
        with ThreadPoolExecutor(3) as callers:
            assert len(list(callers.map(batcher.encode, pictures(3)))) == 3


def test_one_call_more_than_may_wait_is_refused(backend: GatedBackend) -> None:
    backend.gate.clear()
    with (
        MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=0, max_queue=2) as batcher,
        ThreadPoolExecutor(3) as callers,
    ):
        first = callers.submit(batcher.encode, pictures(1)[0])
        until(lambda: backend.waiting == 1)
        others = [callers.submit(batcher.encode, picture) for picture in pictures(2)]
        until(lambda: batcher.stats.queue_depth == 2)
        with pytest.raises(QueueFullError, match="2 calls wait"):
            batcher.encode(pictures(1)[0])
        backend.gate.set()
        for call in (first, *others):
            call.result()


def test_calls_that_were_cancelled_are_dropped_and_make_room(backend: GatedBackend) -> None:
    backend.gate.clear()

    async def cancelled() -> None:
        with MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=0, max_queue=3) as batcher:
            first = asyncio.create_task(batcher.aencode(pictures(1)[0]))
            while backend.waiting == 0:
                await asyncio.sleep(0.001)
            impatient = [asyncio.create_task(batcher.aencode(picture)) for picture in pictures(3)]
            await asyncio.sleep(0)
            for call in impatient[:2]:
                call.cancel()
            await asyncio.gather(*impatient[:2], return_exceptions=True)
            late = asyncio.create_task(batcher.aencode(pictures(1)[0]))
            while ready(batcher) < 2 or batcher.stats.queue_depth > 2:
                await asyncio.sleep(0.001)
            backend.gate.set()
            await asyncio.gather(first, impatient[2], late)

    asyncio.run(cancelled())
    assert backend.sizes == [1, 2]


@pytest.mark.parametrize("finish", [True, False])
def test_closing_finishes_or_fails_what_waits(backend: GatedBackend, finish: bool) -> None:
    backend.gate.clear()
    batcher = MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=0)
    with ThreadPoolExecutor(4) as callers:
        begun = callers.submit(batcher.encode, pictures(1)[0])
        until(lambda: backend.waiting == 1)
        waiting = [callers.submit(batcher.encode, picture) for picture in pictures(2)]
        until(lambda: batcher.stats.queue_depth == 2)
        closing = callers.submit(batcher.close, finish=finish)
        until(lambda: closing.running() and (finish or batcher.stats.queue_depth == 0))
        backend.gate.set()
        closing.result()
    assert begun.exception() is None
    assert [type(call.exception()) for call in waiting] == [type(None) if finish else ClosedError] * 2


def test_a_closed_batcher_says_so_and_may_be_closed_again(backend: GatedBackend) -> None:
    batcher = MicroBatcher(ImageEncoder(backend=backend))
    batcher.close()
    batcher.close()
    with pytest.raises(ClosedError):
        batcher.encode(pictures(1)[0])


def test_a_batcher_that_is_forgotten_leaves_no_thread(backend: GatedBackend) -> None:
    before = threading.active_count()
    batcher = MicroBatcher(ImageEncoder(backend=backend))
    batcher.encode(pictures(1)[0])
    del batcher
    gc.collect()
    until(lambda: threading.active_count() == before)  # the collector waits for none of them


def test_texts_are_batched_and_a_wrong_one_is_its_own_callers_fault() -> None:
    encoder = TextEncoder("tiny-shapes")
    texts: list[Any] = ["a red circle", 7, "a blue star", "a green square"]
    with MicroBatcher(encoder, max_wait_ms=5_000, max_batch_size=2) as batcher:
        calls = [batcher._queue.put(text) for text in texts]
        with pytest.raises(ConfigurationError, match="text 0 must be a string, not int"):
            calls[1].result()
        vectors = [calls[place].result() for place in (0, 2, 3)]
        stats = batcher.stats
    np.testing.assert_allclose(vectors, encoder.encode([texts[place] for place in (0, 2, 3)]), atol=1e-5)
    assert (stats.calls, stats.failures, stats.batches, stats.loading_seconds) == (4, 1, 2, 0)
    assert min(stats.waiting_seconds, stats.encoding_seconds) > 0


def test_a_vector_is_its_callers_own(backend: GatedBackend) -> None:
    with MicroBatcher(ImageEncoder(backend=backend)) as batcher:
        vector = batcher.encode(pictures(1)[0])
    assert vector.base is None
    assert vector.flags.writeable


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_batch_size": 0},
        {"max_wait_ms": -1},
        {"max_wait_ms": float("nan")},
        {"max_wait_ms": float("inf")},
        {"max_wait_ms": "5"},
        {"max_wait_ms": True},
        {"max_queue": 0},
    ],
    ids=repr,
)
def test_settings_out_of_range_are_refused(backend: GatedBackend, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        MicroBatcher(ImageEncoder(backend=backend), **wrong)


@pytest.mark.parametrize("wrong", [None, ImageEncoder, "tiny-shapes"], ids=repr)
def test_what_is_no_encoder_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="encoder must be"):
        MicroBatcher(wrong)


def test_a_file_that_is_not_there_is_counted_among_the_failures(backend: GatedBackend, tmp_path: Path) -> None:
    with MicroBatcher(ImageEncoder(backend=backend)) as batcher:
        with pytest.raises(ImageNotFoundError):
            batcher.encode(tmp_path / "missing.png")
        assert (batcher.stats.calls, batcher.stats.failures) == (1, 1)


def test_stats_count_calls_failures_batches_and_seconds(backend: GatedBackend) -> None:
    with MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=5_000, max_batch_size=2) as batcher:
        with ThreadPoolExecutor(3) as callers:
            items: list[Any] = [*pictures(2), b"no picture"]
            calls = [callers.submit(batcher.encode, item) for item in items]
        assert [call.exception() is None for call in calls] == [True, True, False]
        stats = batcher.stats
    assert (stats.calls, stats.failures, stats.batches, stats.queue_depth) == (3, 1, 1, 0)
    assert min(stats.waiting_seconds, stats.loading_seconds, stats.encoding_seconds) > 0


class TimedBackend(GatedBackend):
    """A backend that is at work for a while, and notes when it began."""

    began = 0.0

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        self.began = time.monotonic()
        threading.Event().wait(0.05)
        return super().__call__(pixels, output=output, device=device)


def test_the_models_own_time_is_no_waiting_for_it() -> None:
    backend = TimedBackend()
    with MicroBatcher(ImageEncoder(backend=backend), max_batch_size=1) as batcher:
        called = time.monotonic()
        batcher.encode(pictures(1)[0])
        assert batcher.stats.waiting_seconds <= backend.began - called
