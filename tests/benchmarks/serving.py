"""Forty threads with one image each: through the batcher, one by one, and as one big batch. ViT-B/32 on a CPU."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clip_image_encoder import ImageEncoder
from clip_image_encoder.serving import MicroBatcher
from tests.benchmarks.checkpoint import jpegs, save_checkpoint
from tests.benchmarks.systems import SYSTEMS

THREADS, MAX_WAIT_MS = 40, 5.0


def main() -> None:
    """Print images a second of each way, in turn, their ratios, and what a lone caller waits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=240, help="images a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    arguments = parser.parse_args()
    photos = jpegs(arguments.images, arguments.count)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder))
        encoder = ImageEncoder(folder, device="cpu")
        theirs = SYSTEMS["sentence-transformers float32"](Path(folder))
        with MicroBatcher(encoder, max_wait_ms=MAX_WAIT_MS) as batcher:
            ways: dict[str, Callable[[], object]] = {
                "one big batch": lambda: encoder.encode(photos, show_progress=False),
                "batcher": lambda: from_threads(batcher.encode, photos),
                "our encode, one by one": lambda: from_threads(encoder.encode, photos),
                "sentence-transformers, one by one": lambda: from_threads(lambda file: theirs.encode([file]), photos),
            }
            rates = in_turn(ways, arguments.count, arguments.rounds)
            lone = {
                "encode": seconds_each(encoder.encode, photos[:40]),
                "batcher": seconds_each(batcher.encode, photos[:40]),
            }
    for way, rate in rates.items():
        print(f"| {way} | {rate:.1f} | {rate / rates['one big batch']:.2f} |")
    print(f"batcher to sentence-transformers: {rates['batcher'] / rates['sentence-transformers, one by one']:.2f}")
    added = 1000 * (lone["batcher"] - lone["encode"])
    print(f"a lone caller, median: {1000 * lone['encode']:.1f} ms, through the batcher {added:+.1f} ms")


def in_turn(ways: dict[str, Callable[[], object]], count: int, rounds: int) -> dict[str, float]:
    """Return the median images a second of each way; a round has each of them once."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for run in ways.values():
        run()
    for _ in range(rounds):
        for way, run in ways.items():
            start = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - start)
    return {way: count / statistics.median(taken) for way, taken in seconds.items()}


def from_threads(encode: Callable[[Path], object], photos: Sequence[Path]) -> None:
    """Call for each photo, from forty threads."""
    with ThreadPoolExecutor(THREADS) as callers:
        list(callers.map(encode, photos))


def seconds_each(encode: Callable[[Path], object], photos: Sequence[Path]) -> float:
    """Return the median time of a call, one after the other."""
    taken = []
    for photo in photos:
        start = time.perf_counter()
        encode(photo)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
