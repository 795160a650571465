"""Several devices: whichever is free takes the next batch, and the vectors stay in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Event

import numpy as np
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend

IMAGES = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in range(0, 240, 20)]


def test_a_slow_device_does_not_set_the_pace_of_a_fast_one() -> None:
    done: Counter[str] = Counter()
    fast_has_done_three = Event()

    class Two(ToyBackend):
        @property
        def devices(self) -> Sequence[str]:
            return ("slow", "fast")

        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            if device == "slow":
                assert fast_has_done_three.wait(600), "the fast device waited for the slow one"
            done[device] += 1
            if done["fast"] == 3:
                fast_has_done_three.set()
            return super().__call__(pixels, output=output, device=device)

    vectors = ImageEncoder(backend=Two(), device=["slow", "fast"]).encode(IMAGES, batch_size=1)
    np.testing.assert_array_equal(vectors, ImageEncoder(backend=ToyBackend()).encode(IMAGES, batch_size=1))
    assert done.total() == len(IMAGES)
