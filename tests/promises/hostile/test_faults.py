"""Faults in mid-run: Ctrl-C, sources that raise, consumers that stop, devices out of memory."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image

from clip_image_encoder import BackendError, ImageEncoder, Output
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.testing import ToyBackend

# The child says when it is in the middle of its work, and after Ctrl-C what it has begun since, and what is left of it.
ENDLESS = """
import itertools, signal, threading
from PIL import Image
from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend

drawn = drawn_before = 0

def endless():
    global drawn
    for drawn in itertools.count():
        if drawn == 200:
            print("running", flush=True)
        yield Image.effect_noise((300, 200), 50)

def interrupt(*_):
    global drawn_before
    drawn_before = drawn
    raise KeyboardInterrupt

encoder = ImageEncoder({model}, num_workers=3)
signal.signal(signal.SIGINT, interrupt)
try:
    encoder.encode(endless(), batch_size=8)
except KeyboardInterrupt:
    left = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    print("interrupted", drawn - drawn_before, left, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole consoles only")
@pytest.mark.parametrize("model", ["backend=ToyBackend()", "'tiny-shapes'"])
def test_ctrl_c_ends_a_running_encode_before_its_next_image_and_leaves_no_thread(model: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", ENDLESS.format(model=model)], stdout=subprocess.PIPE, text=True)
    # What doesn't end by itself must not keep the tests from ending.
    watchdog = threading.Timer(600, child.kill)
    watchdog.daemon = True
    watchdog.start()
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "running\n"
        child.send_signal(signal.SIGINT)
        assert child.stdout.readline() == "interrupted 0 []\n"
        assert child.wait() == 0
    watchdog.cancel()


@pytest.mark.parametrize(
    "raised", [LookupError("the database went away"), RuntimeError("generator"), KeyboardInterrupt()]
)
def test_a_generator_that_raises_raises_the_same_error_after_the_rows_before_it(
    toy: ImageEncoder, noise: Image.Image, raised: BaseException
) -> None:
    def source() -> Iterator[Image.Image]:
        yield from [noise] * 7
        raise raised

    rows: list[int] = []
    with pytest.raises(type(raised)) as caught:
        rows.extend(len(batch.embeddings) for batch in toy.stream(source(), batch_size=3))
    assert caught.value is raised
    # Ctrl-C doesn't wait for what is under way.
    assert rows == [3, 3, 1] or isinstance(raised, KeyboardInterrupt)


def test_a_consumer_that_stops_reading_stops_the_producer(toy: ImageEncoder, noise: Image.Image) -> None:
    drawn = 0

    def source() -> Iterator[Image.Image]:
        nonlocal drawn
        while True:
            drawn += 1
            yield noise

    for batch in toy.stream(source(), batch_size=4):
        if batch.start == 20:
            break
    del batch
    seen = drawn
    assert seen < 60
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clip_image_encoder")]
    assert drawn == seen


@dataclass(frozen=True, kw_only=True)
class Crowded(ToyBackend):
    """A backend that runs out of memory in the calls with these numbers, as torch does."""

    full: frozenset[int]
    calls: list[int] = field(default_factory=list)

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        self.calls.append(len(pixels))
        if len(self.calls) in self.full or not self.full:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return ToyBackend.__call__(self, pixels, output=output, device=device)


@pytest.mark.parametrize("full", [{1}, {1, 2}, {1, 2, 5}], ids=["once", "twice", "three times"])
def test_out_of_memory_halves_the_batch_and_goes_on(photos: list[Image.Image], full: set[int]) -> None:
    backend = Crowded(full=frozenset(full))
    vectors = ImageEncoder(backend=backend).encode(photos[:8], batch_size=8)
    np.testing.assert_allclose(vectors, ImageEncoder(backend=ToyBackend()).encode(photos[:8]), atol=1e-6)
    assert backend.calls[:2] == [8, 4]


def test_out_of_memory_with_a_single_image_is_a_backend_error_and_the_encoder_stays_usable(noise: Image.Image) -> None:
    backend = Crowded(full=frozenset({1, 2, 3}))
    encoder = ImageEncoder(backend=backend)
    with pytest.raises(BackendError, match="out of memory with a single image"):
        encoder.encode([noise] * 4, batch_size=4)
    assert backend.calls == [4, 2, 1]
    np.testing.assert_allclose(
        encoder.encode(noise),
        ImageEncoder(backend=ToyBackend()).encode(noise),
        atol=1e-6,
    )


def test_always_out_of_memory_is_an_error_and_not_a_loop(noise: Image.Image) -> None:
    backend = Crowded(full=frozenset())
    with pytest.raises(BackendError, match="out of memory"):
        ImageEncoder(backend=backend).encode([noise] * 16, batch_size=16)
    assert backend.calls == [16, 8, 4, 2, 1]
