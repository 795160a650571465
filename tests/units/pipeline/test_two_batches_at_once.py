"""A CUDA device has two batches at once: one is copied to it while it computes the other, on threads of the call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.arrays import Pixels, TokenIds, Tokens, Vectors
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend


def test_a_second_batch_comes_before_the_first_is_done() -> None:
    both = Barrier(2, timeout=60)

    class OnCuda(ToyBackend):
        @property
        def devices(self) -> Sequence[str]:
            return ("cuda:0",)

        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            # Breaks, and fails the call, if the other batch doesn't come meanwhile.
            both.wait()
            return super().__call__(pixels, output=output, device=device)

    images = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(0, 240, 40)]
    vectors = ImageEncoder(backend=OnCuda()).encode(images, batch_size=1)
    np.testing.assert_array_equal(vectors, ImageEncoder(backend=ToyBackend()).encode(images, batch_size=1))


class OnCuda(ToyBackend):
    """A toy on two devices that are CUDA's in name, which keeps the threads that were there when it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__["seen"] = []

    @property
    def devices(self) -> Sequence[str]:
        return ("cuda:0", "cuda:1")

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        self.__dict__["seen"].append(own_threads())
        return super().__call__(pixels, output=output, device=device)


def own_threads() -> set[Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("clip_image_encoder")}


ARRAYS = np.zeros((12, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("images", [ARRAYS[0], list(ARRAYS[:1]), ARRAYS], ids=["one", "a list of one", "a batch"])
@pytest.mark.parametrize("device", ["cuda:0", ["cuda:0", "cuda:1"]])
def test_what_fits_into_one_batch_is_encoded_on_the_callers_thread(images: Any, device: Any) -> None:
    backend = OnCuda()
    ImageEncoder(backend=backend, num_workers=0).encode(images, batch_size=12, device=device)
    assert backend.__dict__["seen"] == [set()]


def test_so_are_a_few_texts() -> None:
    seen: list[Thread] = []

    class Texts:
        dimension, max_length, devices = 1, 1, ("cuda:0",)

        def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
            seen.append(threading.current_thread())
            return np.ones((len(token_ids), 1), np.float32)

    encoder = TextEncoder(backend=Texts(), tokenizer=lambda texts: (np.zeros((len(texts), 1), np.int64), None))
    encoder.encode(["red", "blue"])
    assert seen == [threading.current_thread()]


def test_forty_calls_have_two_threads_a_device_at_a_time_and_leave_none() -> None:
    backend = OnCuda()
    encoder = ImageEncoder(backend=backend, num_workers=0)
    for _ in range(40):
        encoder.encode(ARRAYS, batch_size=2)
    seen = backend.__dict__["seen"]
    assert len(seen) == 40 * 6
    assert max(map(len, seen)) == 2
    assert not own_threads()
