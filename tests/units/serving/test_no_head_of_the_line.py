"""Images are loaded as they come, on a few threads: one that takes long keeps no other call waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import CorruptImageError, ImageEncoder
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.cache import CachedEncoder, MemoryCache
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import ToyBackend
from tests.units.serving.gated_backend import GatedBackend

PICTURE = np.zeros((32, 32, 3), np.uint8)


class Loads:
    """Counts images that are being loaded, each of which goes on when it may."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self._changed = threading.Condition()
        self.now = self.most = self.begun = 0

    def image(self) -> Any:
        loads = self

        class Slow:
            def __array__(self, dtype: object = None, copy: bool | None = None) -> Any:
                with loads._changed:
                    loads.now, loads.begun = loads.now + 1, loads.begun + 1
                    loads.most = max(loads.most, loads.now)
                    loads._changed.notify_all()
                assert loads.go_on.wait(600)
                with loads._changed:
                    loads.now -= 1
                return PICTURE

        return Slow()

    def wait_for(self, begun: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.begun >= begun, timeout=600), f"{self.begun} loads have begun"


@pytest.fixture
def slow() -> Iterator[Loads]:
    loads = Loads()
    yield loads
    loads.go_on.set()


@pytest.mark.parametrize("is_cached", [False, True], ids=["plain", "cached"])
def test_an_image_that_takes_long_to_load_keeps_no_other_waiting(slow: Loads, is_cached: bool) -> None:
    encoder = ImageEncoder(backend=ToyBackend())
    with MicroBatcher(CachedEncoder(encoder, MemoryCache()) if is_cached else encoder, max_wait_ms=0) as batcher:
        first = batcher._queue.put(slow.image())
        slow.wait_for(begun=1)
        try:
            others = [batcher._queue.put(PICTURE) for _ in range(8)]
            assert [call.result(timeout=600).shape for call in others] == [(16,)] * 8
            assert not first.done()
        finally:
            slow.go_on.set()
        assert first.result(timeout=600).shape == (16,)


def test_a_pil_image_whose_file_is_slow_keeps_no_other_waiting(tmp_path: Any) -> None:
    reading, go_on = threading.Event(), threading.Event()

    class SlowFile:
        """A file that Pillow has opened and the batcher is to read."""

        def __init__(self) -> None:
            self.file, self.is_opened = (tmp_path / "picture.png").open("rb"), False

        def read(self, size: int = -1) -> bytes:
            if self.is_opened:
                reading.set()
                assert go_on.wait(600)
            data: bytes = self.file.read(size)
            return data

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    file = SlowFile()
    image = Image.open(file)
    file.is_opened = True
    with file.file, MicroBatcher(ImageEncoder(backend=ToyBackend()), max_wait_ms=0) as batcher:
        first = batcher._queue.put(image)
        try:
            assert reading.wait(600)
            assert batcher._queue.put(PICTURE).result(timeout=600).shape == (16,)
            assert not first.done()
        finally:
            go_on.set()
        assert first.result(timeout=600).shape == (16,)


def test_an_image_that_is_damaged_is_told_without_waiting_for_the_model() -> None:
    backend = GatedBackend()
    backend.gate.clear()
    with MicroBatcher(ImageEncoder(backend=backend), max_wait_ms=0) as batcher:
        try:
            good = batcher._queue.put(PICTURE)
            damaged = batcher._queue.put(b"\x89PNG\r\n\x1a\n cut short")
            assert isinstance(damaged.exception(timeout=600), CorruptImageError)
            assert not good.done()
        finally:
            backend.gate.set()


def test_the_next_group_loads_while_the_model_computes(slow: Loads) -> None:
    backend = GatedBackend()
    backend.gate.clear()
    slow.go_on.set()
    with MicroBatcher(ImageEncoder(backend=backend, num_workers=2), max_wait_ms=0, max_batch_size=4) as batcher:
        calls = [batcher._queue.put(slow.image())]
        try:
            backend.wait_for_a_batch()
            calls += [batcher._queue.put(slow.image()) for _ in range(4)]
            slow.wait_for(begun=5)
        finally:
            backend.gate.set()
        assert [call.result(timeout=600).shape for call in calls] == [(16,)] * 5


@pytest.mark.parametrize(("num_workers", "threads"), [(3, 3), (1, 2), (0, 2)])
def test_images_load_on_as_many_threads_as_the_encoder_has_and_at_least_two(
    slow: Loads, num_workers: int, threads: int
) -> None:
    with MicroBatcher(ImageEncoder(backend=ToyBackend(), num_workers=num_workers)) as batcher:
        calls = [batcher._queue.put(slow.image()) for _ in range(10)]
        try:
            slow.wait_for(begun=threads)
        finally:
            slow.go_on.set()
        for call in calls:
            call.result(timeout=600)
    assert slow.most == threads


def test_no_more_than_two_batches_and_an_image_for_each_thread_are_pixels(slow: Loads) -> None:
    """The other calls keep their files, while the model has a batch of one."""
    backend = GatedBackend()
    backend.gate.clear()
    slow.go_on.set()
    with MicroBatcher(ImageEncoder(backend=backend, num_workers=2), max_wait_ms=0, max_batch_size=3) as batcher:
        calls = [batcher._queue.put(slow.image())]
        try:
            backend.wait_for_a_batch()
            calls += [batcher._queue.put(slow.image()) for _ in range(20)]
            slow.wait_for(begun=9)
            while batcher._queue._loading:
                threading.Event().wait(0.001)
            assert (slow.begun, batcher.stats.queue_depth) == (9, 20)
        finally:
            backend.gate.set()
        for call in calls:
            call.result(timeout=600)


@pytest.mark.parametrize("finish", [True, False])
def test_a_closed_batcher_leaves_no_thread(slow: Loads, finish: bool) -> None:
    before = set(threading.enumerate())
    batcher = MicroBatcher(ImageEncoder(backend=ToyBackend()))
    calls: list[Future[Vectors]] = [batcher._queue.put(slow.image()) for _ in range(5)]
    try:
        slow.wait_for(begun=2)
    finally:
        slow.go_on.set()
        batcher.close(finish=finish)
    assert set(threading.enumerate()) == before
    assert all(call.done() for call in calls)
    assert [call.exception() for call in calls] == [None] * 5 or not finish
