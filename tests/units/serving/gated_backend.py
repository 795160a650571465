"""A backend that a test can hold up, break, and look into."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from clip_image_encoder import Output
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.testing import ToyBackend


class GatedBackend:
    """ToyBackend behind a gate.

    Attributes:
        gate: closed, it holds every batch up.
        fault: raised instead of an answer.
        sizes: of the batches that have passed.
        waiting: batches that have come to the gate.
    """

    def __init__(self) -> None:
        self._toy = ToyBackend()
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.sizes: list[int] = []
        self.waiting = 0

    def wait_for_a_batch(self) -> None:
        """Return when a batch has come to the gate."""
        while self.waiting == 0:
            threading.Event().wait(0.001)

    dimension = ToyBackend().dimension
    image_size = ToyBackend().image_size
    devices: Sequence[str] = ("cpu",)
    outputs: frozenset[Output] = ToyBackend().outputs
    prefix_tokens = 1
    preprocess = ToyBackend().preprocess

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        self.waiting += 1
        self.gate.wait(600)
        if self.fault is not None:
            raise self.fault
        self.sizes.append(len(pixels))
        return self._toy(pixels, output=output, device=device)
