"""MicroBatcher under ten thousand mixed calls: each gets its own outcome, none is left waiting, no thread stays."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_image_encoder import BackendError, ClosedError, ImageEncoder, ImageError, Output, QueueFullError
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import ToyBackend

PICTURES = np.random.default_rng(1).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class FlakyBackend(ToyBackend):
    """ToyBackend that fails one batch in so many; 0 is none."""

    one_in: int
    batches: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        number = next(self.batches)
        if self.one_in and number % self.one_in == 0:
            raise RuntimeError("injected")
        return super().__call__(pixels, output=output, device=device)


@pytest.fixture(scope="module")
def expected() -> Vectors:
    return ImageEncoder(backend=ToyBackend()).encode(PICTURES)


@pytest.mark.filterwarnings("error")
def test_ten_thousand_calls_from_threads_and_coroutines_each_get_their_own(expected: Vectors) -> None:
    threads_before = threading.active_count()
    backend, choices = FlakyBackend(one_in=50), random.Random(3)
    outcomes = {"vector": 0, "bad image": 0, "fault": 0, "cancelled": 0}
    plan = [(choices.randrange(50), choices.random()) for _ in range(10_000)]

    def check(number: int, chance: float, outcome: Any) -> None:
        if isinstance(outcome, asyncio.CancelledError):
            outcomes["cancelled"] += 1
        elif isinstance(outcome, BackendError):
            outcomes["fault"] += 1
        elif isinstance(outcome, ImageError):
            assert chance < 0.1
            outcomes["bad image"] += 1
        else:
            assert chance >= 0.1
            np.testing.assert_allclose(outcome, expected[number], atol=1e-6)
            outcomes["vector"] += 1

    def item(number: int, chance: float) -> Any:
        return b"no picture" if chance < 0.1 else PICTURES[number]

    def call(step: tuple[int, float]) -> Any:
        try:
            return batcher.encode(item(*step))
        except (BackendError, ImageError) as error:
            return error

    async def coroutine(step: tuple[int, float]) -> Any:
        task = asyncio.create_task(batcher.aencode(item(*step)))
        if step[1] > 0.9:
            await asyncio.sleep(choices.random() / 200)
            task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    async def many(steps: list[tuple[int, float]]) -> list[Any]:
        return [
            outcome
            for start in range(0, len(steps), 200)
            for outcome in await asyncio.gather(*map(coroutine, steps[start : start + 200]))
        ]

    with MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=1, max_queue=None) as batcher:
        with ThreadPoolExecutor(40) as callers:
            from_threads = callers.map(call, plan[:5_000])
            from_coroutines = asyncio.run(many(plan[5_000:]))
            for step, outcome in zip(plan, [*from_threads, *from_coroutines], strict=True):
                check(*step, outcome)
        stats = batcher.stats
    assert sum(outcomes.values()) == 10_000
    assert min(outcomes.values()) > 0
    assert stats.queue_depth == 0
    assert threading.active_count() == threads_before


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kinds=st.lists(st.sampled_from(["good", "bad", "cancelled"]), max_size=40),
    size=st.integers(1, 9),
    one_in=st.sampled_from([0, 2, 3]),
    max_queue=st.sampled_from([None, 5]),
    finish=st.booleans(),
)
def test_whatever_comes_every_caller_is_answered(
    expected: Vectors, kinds: list[str], size: int, one_in: int, max_queue: int | None, finish: bool
) -> None:
    batcher = MicroBatcher(
        ImageEncoder(backend=FlakyBackend(one_in=one_in)),
        max_batch_size=size,
        max_wait_ms=0.5,
        max_queue=max_queue,
    )
    calls: list[tuple[int, str, Future[Vectors]]] = []
    for number, kind in enumerate(kinds):
        try:
            future = batcher._queue.put(b"no picture" if kind == "bad" else PICTURES[number])
        except QueueFullError:
            assert max_queue is not None
            continue
        if kind == "cancelled":
            future.cancel()
        calls.append((number, kind, future))
    batcher.close(finish=finish)
    assert not wait_for([future for *_, future in calls], timeout=600).not_done
    for number, kind, future in calls:
        if future.cancelled():
            assert kind == "cancelled"
        elif (error := future.exception()) is None:
            assert kind != "bad"
            np.testing.assert_allclose(future.result(), expected[number], atol=1e-6)
        else:
            assert isinstance(error, ImageError if kind == "bad" and one_in == 0 and finish else Exception)
            assert isinstance(error, (ImageError, BackendError, ClosedError))
