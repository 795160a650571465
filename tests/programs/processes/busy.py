"""Forks children of a process whose threads encode all the time.

Started as `python -m tests.programs.processes.busy KIND CHILDREN`.

Each child encodes with what it has from its parent, or is refused by a sentence, and ends. Fails if one hangs, gives
other vectors or ends with another status than 0.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder import BackendError, ImageEncoder, TextEncoder
from clip_image_encoder.serving import MicroBatcher

from .children import fork_children

_BUSY_THREADS = 2
_PICTURES = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)
_TEXTS = ["a red circle", "a blue star", "a green square on a white ground"] * 3


def _images(backend: str) -> Callable[[], NDArray[np.float32]]:
    encoder = ImageEncoder("tiny-shapes", backend=backend, device="cpu")
    return lambda: encoder.encode(_PICTURES)


def _texts() -> Callable[[], NDArray[np.float32]]:
    encoder = TextEncoder("tiny-shapes", device="cpu")
    return lambda: encoder.encode(_TEXTS)


def _batcher() -> Callable[[], NDArray[np.float32]]:
    batcher = MicroBatcher(ImageEncoder("tiny-shapes", device="cpu"))
    return lambda: batcher.encode(_PICTURES[0])


_KINDS: dict[str, Callable[[], Callable[[], NDArray[np.float32]]]] = {
    "torch": lambda: _images("torch"),
    "onnx": lambda: _images("onnx"),
    "openvino": lambda: _images("openvino"),
    "texts": _texts,
    "batcher": _batcher,
}

_REFUSED = ("openvino",)
"""What can't run in a child, and says so."""


def main() -> None:
    """Fork children of a busy parent, and print how they ended."""
    kind, count = sys.argv[1], int(sys.argv[2])
    encode = _KINDS[kind]()
    expected = encode()
    done = threading.Event()

    def be_busy() -> None:
        while not done.is_set():
            encode()

    threads = [threading.Thread(target=be_busy, daemon=True) for _ in range(_BUSY_THREADS)]
    for thread in threads:
        thread.start()
    start = time.monotonic()

    def encodes() -> bool:
        try:
            return np.allclose(encode(), expected, atol=1e-5)
        except BackendError:
            return kind in _REFUSED

    ends = fork_children(count, encodes)
    done.set()
    for thread in threads:
        thread.join()
    told = ", ".join(f"{number} {end}" for end, number in ends.most_common())
    print(f"{kind:9s} {count} children of a busy parent: {told}; {time.monotonic() - start:.0f} s", flush=True)
    if ends != {"status 0": count}:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
