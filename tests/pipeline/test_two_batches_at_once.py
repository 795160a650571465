"""A CUDA device has two batches at once: one is copied to it while it computes the other."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Barrier

import numpy as np
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
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
