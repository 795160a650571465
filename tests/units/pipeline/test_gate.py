"""The gate between loading threads and a model on the CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder._gate import Gate
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend


def test_calls_begin_when_the_gate_opens() -> None:
    gate = Gate()
    with ThreadPoolExecutor(1) as pool:
        with gate.closed():
            future = pool.submit(gate.guard(str.upper), "late")
            with pytest.raises(futures.TimeoutError):
                future.result(timeout=0.05)
        assert future.result() == "LATE"


def test_a_call_that_has_begun_goes_on() -> None:
    gate, begun, finish = Gate(), Event(), Event()

    def slow(item: str) -> str:
        begun.set()
        assert finish.wait(timeout=600)
        return item.upper()

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(gate.guard(slow), "early")
        assert begun.wait(timeout=600)
        with gate.closed():
            finish.set()
            assert future.result(timeout=600) == "EARLY"


def test_an_error_opens_the_gate() -> None:
    gate = Gate()
    with pytest.raises(RuntimeError), gate.closed():
        raise RuntimeError
    assert gate.guard(str.upper)("on") == "ON"


def test_a_model_on_the_cpu_closes_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Watched(Gate):
        @contextmanager
        def closed(self) -> Iterator[None]:
            closed.append(self)
            with super().closed():
                yield

    monkeypatch.setattr("clip_image_encoder.pipeline.Gate", Watched)
    ImageEncoder(backend=ToyBackend()).encode([Image.new("RGB", (8, 8))] * 5, batch_size=2)
    assert len(closed) == 3
    assert len(set(closed)) == 1


def test_more_threads_than_cores_load_beside_the_model() -> None:
    """They wait for a network, and the model is not to wait for that, too."""
    third = Event()

    class Patient(ToyBackend):
        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            # Only a thread that loads during this call can set it.
            assert third.wait(timeout=600)
            return super().__call__(pixels, output=output, device=device)

    class Third:
        def __array__(self, dtype: object = None, copy: bool | None = None) -> NDArray[np.uint8]:
            first_is_loaded.wait(timeout=600)
            third.set()
            return np.zeros((8, 8, 3), np.uint8)

    class First:
        def __array__(self, dtype: object = None, copy: bool | None = None) -> NDArray[np.uint8]:
            first_is_loaded.set()
            return np.zeros((8, 8, 3), np.uint8)

    first_is_loaded = Event()
    encoder = ImageEncoder(backend=Patient(), num_workers=(os.cpu_count() or 1) + 1)
    assert encoder.encode([First(), Third()], batch_size=1).shape == (2, encoder.dimension)


def test_what_waits_at_the_gate_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on only while the model computes."""
    now, computing, at_the_gate = 0, Event(), Event()
    monkeypatch.setattr("clip_image_encoder.pipeline.time.perf_counter", lambda: now)

    class Watched(Gate):
        def guard(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
            waiting = super().guard(function)

            def come(item: Any) -> Any:
                if not self._open.is_set():
                    at_the_gate.set()
                return waiting(item)

            return come

    class Computing(ToyBackend):
        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            nonlocal now
            computing.set()
            assert at_the_gate.wait(timeout=600)
            now += 1000
            return super().__call__(pixels, output=output, device=device)

    class Third:
        """Is being loaded when the gate is closed behind it, so that the fourth comes to a closed gate."""

        def __array__(self, dtype: object = None, copy: bool | None = None) -> NDArray[np.uint8]:
            assert computing.wait(timeout=600)
            return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr("clip_image_encoder.pipeline.Gate", Watched)
    plain = Image.new("RGB", (8, 8))
    encoder = ImageEncoder(backend=Computing(), num_workers=1)
    batches = list(encoder.stream([plain, plain, Third(), plain], batch_size=2))
    assert [batch.loading_seconds for batch in batches] == [0, 0]
    assert [batch.encoding_seconds for batch in batches] == [1000, 1000]
