"""File objects and PIL images of several threads: each is read by one thread at a time, and keeps no other waiting."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from clip_image_encoder import ImageLoader
from clip_image_encoder.images.locks import Locks


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


class SlowFile(io.BytesIO):
    """A file whose reader waits until it may go on, and which notes how many read it at a time."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.readers = self.most_readers = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.readers += 1
        self.most_readers = max(self.readers, self.most_readers)
        self.reading.set()
        assert self.go_on.wait(600)
        self.readers -= 1
        return super().read(size)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_a_file_that_is_read_keeps_no_other_waiting(threads: ThreadPoolExecutor) -> None:
    """Among 512 objects there were some of the same lock, whatever it was chosen by."""
    loader, slow = ImageLoader(), SlowFile(png(1))
    files = [io.BytesIO(png(2)) for _ in range(256)]
    images = [Image.new("RGB", (4, 4)) for _ in range(256)]
    first = threads.submit(loader, slow)
    assert slow.reading.wait(600)
    try:
        others = threads.submit(lambda: [loader(item) for item in (*files, *images)])
        assert len(others.result(timeout=600)) == 512
        assert not first.done()
    finally:
        slow.go_on.set()
    assert first.result().getpixel((0, 0)) == (1, 0, 0)


def test_a_file_is_read_by_one_thread_at_a_time(threads: ThreadPoolExecutor) -> None:
    loader, slow = ImageLoader(), SlowFile(png(1))
    loads = [threads.submit(loader, slow) for _ in range(4)]
    assert slow.reading.wait(600)
    slow.go_on.set()
    assert [load.result().getpixel((0, 0)) for load in loads] == [(1, 0, 0)] * 4
    assert slow.most_readers == 1


def test_a_file_may_be_read_while_it_is_read_by_the_same_thread() -> None:
    """One that makes its content of itself."""
    loader = ImageLoader()

    class Nested(io.BytesIO):
        depth = 0

        def read(self, size: int | None = -1, /) -> bytes:
            self.depth += 1
            if self.depth == 1:
                assert loader(self).getpixel((0, 0)) == (1, 0, 0)
                self.seek(0)
            return super().read(size)

    assert loader(Nested(png(1))).getpixel((0, 0)) == (1, 0, 0)


def test_nothing_is_kept_of_what_is_not_read_any_more() -> None:
    locks, items = Locks(), [object() for _ in range(9)]
    with locks.of(items[0]):
        for item in items:
            with locks.of(item), locks.of(item):
                pass
        assert len(locks) == 1
    assert len(locks) == 0
