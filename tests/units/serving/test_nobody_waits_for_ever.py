"""Whatever an input, an encoder or the garbage collector does, each caller of a batcher is answered."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from clip_image_encoder import ClosedError, ConfigurationError, ContractError, EncodedBatch, ImageEncoder
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.serving.worker import Worker
from clip_image_encoder.testing import ToyBackend
from tests.units.serving.gated_backend import GatedBackend

PICTURE = np.zeros((32, 32, 3), np.uint8)


class PanicError(BaseException):
    """As a tokenizer written in Rust raises it, or gevent when its time is up: no Exception."""


class Raises:
    """An image that raises when it is asked for its pixels."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __array__(self, dtype: object = None, copy: bool | None = None) -> Any:
        raise self.error


def outcomes_of(batcher: MicroBatcher[Any], items: Iterable[object]) -> list[Any]:
    """What calls get that enter one after the other; a call that is left waiting is a TimeoutError."""
    calls: list[Future[Vectors]] = [batcher._queue.put(item) for item in items]
    outcomes: list[Any] = []
    for call in calls:
        error = call.exception(timeout=600)
        outcomes.append(call.result() if error is None else error)
    return outcomes


@pytest.mark.parametrize("error", [PanicError("out of range"), SystemExit(3), GeneratorExit()], ids=repr)
def test_whatever_an_image_raises_only_its_caller_gets_an_error_and_the_batcher_goes_on(error: BaseException) -> None:
    with MicroBatcher(ImageEncoder(backend=ToyBackend())) as batcher:
        before, told, after = outcomes_of(batcher, [PICTURE, Raises(error), PICTURE])
        assert (type(told), told.__cause__) == (ContractError, error)
        np.testing.assert_array_equal(before, after)
        np.testing.assert_array_equal(outcomes_of(batcher, [PICTURE] * 3), [before] * 3)


def test_a_text_that_makes_the_tokenizer_panic_is_its_own_callers_fault() -> None:
    class Texts:
        def stream(
            self, texts: Iterable[str], batch_size: int, *, show_progress: bool | None
        ) -> Generator[EncodedBatch]:
            strings = list(texts)
            if "\0" in strings:
                raise PanicError("byte index 1 is out of bounds")
            yield EncodedBatch(start=0, embeddings=np.ones((len(strings), 4), np.float32), failures=())

    batcher: MicroBatcher[Any]
    with MicroBatcher(Texts(), max_wait_ms=5_000, max_batch_size=3) as batcher:  # type: ignore[call-overload]
        before, told, after = outcomes_of(batcher, ["a", "\0", "b"])
    assert isinstance(told, ContractError)
    assert "PanicError('byte index 1 is out of bounds')" in str(told)
    assert before.shape == after.shape == (4,)


class ImagesOf:
    """A stream of vectors as a test wants it."""

    def __init__(self, *rows: int) -> None:
        self._rows = rows

    def stream(self, images: Iterable[Any], batch_size: int, *, show_progress: bool | None) -> Generator[EncodedBatch]:
        list(images)
        for rows in self._rows:
            yield EncodedBatch(start=0, embeddings=np.ones((rows, 4), np.float32), failures=())


@pytest.mark.parametrize("rows", [(), (1,), (2, 2)], ids=["none", "too few", "too many"])
def test_a_stream_with_another_number_of_rows_is_named_to_each_caller(rows: tuple[int, ...]) -> None:
    with MicroBatcher(ImagesOf(*rows), max_wait_ms=5_000, max_batch_size=3) as batcher:
        for outcome in outcomes_of(batcher, [PICTURE] * 3):
            # A single input gets a single row of that stream, and is answered.
            assert isinstance(outcome, np.ndarray if rows == (1,) else ContractError)


def test_a_group_that_failed_leaves_none_of_its_images_in_memory() -> None:
    class Fails:
        def stream(self, images: Iterable[Any], batch_size: int, *, show_progress: bool | None) -> Any:
            list(images)
            raise RuntimeError("no vectors today")

    class Upload:
        pass

    uploads = [Upload(), Upload()]
    left = [weakref.ref(upload) for upload in uploads]
    logging.disable()  # pytest keeps what is logged, with its tracebacks
    gc.disable()
    try:
        with MicroBatcher(Fails(), max_wait_ms=5_000, max_batch_size=2) as batcher:
            told = outcomes_of(batcher, uploads)
            uploads.clear()
        assert [type(error) for error in told] == [RuntimeError] * 2
        assert [reference() for reference in left] == [None, None]
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


class UnspeakableError(BaseException):
    """An error that can't even be shown."""

    def __repr__(self) -> str:
        raise self


def test_an_error_that_can_not_be_shown_is_named_to_its_own_caller_only() -> None:
    with MicroBatcher(ImageEncoder(backend=ToyBackend()), max_batch_size=1) as batcher:
        told, vector = outcomes_of(batcher, [Raises(UnspeakableError()), PICTURE])
    assert isinstance(told, ContractError)
    assert "UnspeakableError" in str(told)
    assert vector.shape == (16,)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_batcher_that_breaks_down_is_closed_to_those_who_wait_and_those_who_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    all_wait = threading.Event()

    def broken(self: Worker, group: object) -> None:
        assert all_wait.wait(600)
        raise MemoryError

    monkeypatch.setattr(Worker, "_outcomes", broken)
    batcher = MicroBatcher(ImageEncoder(backend=ToyBackend()), max_batch_size=1)
    calls = [batcher._queue.put(PICTURE) for _ in range(3)]
    all_wait.set()
    assert [type(call.exception(timeout=600)) for call in calls] == [ClosedError] * 3
    with pytest.raises(ClosedError):
        batcher.encode(PICTURE)
    batcher.close()


def test_the_collector_waits_for_no_batcher() -> None:
    backend = GatedBackend()
    backend.gate.clear()
    cycle: list[Any] = [MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=0)]
    cycle.append(cycle)
    thread, queue = cycle[0]._worker, cycle[0]._queue
    begun = queue.put(PICTURE)
    backend.wait_for_a_batch()
    waiting = queue.put(PICTURE)
    del cycle
    gc.collect()
    assert not begun.done()
    backend.gate.set()
    assert begun.result(timeout=600).shape == (backend.dimension,)
    assert isinstance(waiting.exception(timeout=600), ClosedError)
    thread.join(20)
    assert not thread.is_alive()


class SlowFile:
    """An upload that stops in the middle."""

    def __init__(self) -> None:
        self.reading, self.arrived = threading.Event(), threading.Event()
        self.reader: threading.Thread | None = None

    def read(self, size: int, /) -> bytes:
        self.reader = threading.current_thread()
        self.reading.set()
        self.arrived.wait(600)
        return b""


def test_a_slow_upload_holds_up_its_own_caller_only() -> None:
    upload = SlowFile()
    with (
        MicroBatcher(ImageEncoder(backend=ToyBackend()), max_wait_ms=0) as batcher,
        ThreadPoolExecutor(2) as callers,
    ):
        slow = callers.submit(batcher.encode, upload)
        assert upload.reading.wait(600)
        try:
            assert callers.submit(batcher.encode, PICTURE).result(timeout=600).shape == (16,)
            assert not slow.done()
        finally:
            upload.arrived.set()
        assert "file object (SlowFile)" in str(slow.exception())


def test_a_coroutines_slow_upload_holds_up_neither_the_loop_nor_others() -> None:
    upload = SlowFile()

    async def both() -> None:
        with MicroBatcher(ImageEncoder(backend=ToyBackend()), max_wait_ms=0) as batcher:
            slow = asyncio.create_task(batcher.aencode(upload))
            try:
                while not upload.reading.is_set():
                    await asyncio.sleep(0.001)
                vector = await asyncio.wait_for(batcher.aencode(PICTURE), timeout=600)
                assert vector.shape == (16,)
                assert not slow.done()
            finally:
                upload.arrived.set()
                await asyncio.gather(slow, return_exceptions=True)

    asyncio.run(both())


def test_a_closed_batcher_reads_nothing() -> None:
    upload = SlowFile()
    upload.arrived.set()
    batcher = MicroBatcher(ImageEncoder(backend=ToyBackend()))
    batcher.close()
    with pytest.raises(ClosedError):
        batcher.encode(upload)
    assert upload.reader is None


def test_outside_of_asyncio_a_coroutine_is_told_what_to_do() -> None:
    with (
        MicroBatcher(ImageEncoder(backend=ToyBackend())) as batcher,
        pytest.raises(ConfigurationError, match=r"to_thread\.run_sync"),
    ):
        # As another loop, such as trio's, takes its first step.
        batcher.aencode(PICTURE).send(None)
