"""Forty threads with one image each, ViT-B/32: a process that works on jobs.

python -m tests.programs.benchmarks.serving CHECKPOINT: {"inputs": [...]} answers, for each way, images a second, and
how long the calls of the images took; "a PNG" and "a read" are ways with one slow file among the images.
"""

from __future__ import annotations

import io
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.serving import MicroBatcher
from tests.programs.benchmarks.process import Figures, Job, answer_jobs
from tests.programs.benchmarks.systems import FIRST, IMAGES
from tests.programs.benchmarks.worker import seconds

THREADS, _MAX_WAIT_MS = 40, 5.0
_SIDE = 9400
"""Pixels: 88 megapixels in all, just what is let in."""
_READING_SECONDS = 3.0

Item = Path | bytes | io.IOBase


class SlowFile(io.RawIOBase):
    """A file whose first read takes seconds."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)
        self._waits = True

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # what io hands over
        """Wait once, and read."""
        if self._waits:
            time.sleep(_READING_SECONDS)
            self._waits = False
        return self._content.readinto(buffer)


def big_png() -> bytes:
    """Return a small file of 88 megapixels."""
    file = io.BytesIO()
    Image.new("RGB", (_SIDE, _SIDE), "teal").save(file, "PNG")
    return file.getvalue()


def together(encode: Callable[[Sequence[Item]], object], items: Sequence[Item]) -> Figures:
    """Encode all in one call."""
    begun = time.perf_counter()
    encode(items)
    return {"rate": len(items) / (time.perf_counter() - begun)}


def from_threads(encode: Callable[[Item], object], items: Sequence[Item]) -> Figures:
    """Call for each item, from forty threads; the time of a call counts for photos alone."""

    begun = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as callers:
        taken = list(callers.map(lambda item: seconds(partial(encode, item)), items))
    rate = len(items) / (time.perf_counter() - begun)
    p50, p99 = np.percentile(
        [each for each, item in zip(taken, items, strict=True) if isinstance(item, Path)], (50, 99)
    )
    return {"rate": rate, "p50": float(p50), "p99": float(p99)}


def alone(encode: Callable[[Item], object], items: Sequence[Item]) -> Figures:
    """Call for each item, one after the other."""
    return {"p50": statistics.median(seconds(partial(encode, item)) for item in items)}


def main(checkpoint: str) -> None:
    """Load two encoders and a batcher, and measure each way once a job."""
    encoder = ImageEncoder(checkpoint, device="cpu")
    theirs = IMAGES[FIRST](Path(checkpoint))
    png = big_png()
    with MicroBatcher(encoder, max_wait_ms=_MAX_WAIT_MS) as batcher:

        def work(job: Job) -> Figures:
            photos = [Path(file) for file in job["inputs"]]
            few = photos[: 2 * THREADS]

            def among(slow: Item | None) -> list[Item]:
                middle = len(photos) // 2
                return [*photos[:middle], *([slow] if slow else []), *photos[middle:]]

            def slow_file() -> SlowFile:
                return SlowFile(photos[0].read_bytes())

            encoder.encode(photos[:32])
            ways = {
                "one batch": together(encoder.encode, among(None)),
                "batcher": from_threads(batcher.encode, among(None)),
                "one batch, a PNG": together(encoder.encode, among(png)),
                "batcher, a PNG": from_threads(batcher.encode, among(png)),
                "one batch, a read": together(encoder.encode, among(slow_file())),
                "batcher, a read": from_threads(batcher.encode, among(slow_file())),
                "one by one": from_threads(encoder.encode, few),
                "sentence-transformers, one by one": from_threads(lambda file: theirs.encode([file], 1), few),
                "a lone caller": alone(encoder.encode, few[:20]),
                "a lone caller, batcher": alone(batcher.encode, few[:20]),
            }
            return {f"{way}: {name}": value for way, figures in ways.items() for name, value in figures.items()}

        answer_jobs(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
