"""The torch backend on a CUDA GPU: `nox -s bench_gpu [-- --images FOLDER]`; says so where there is none.

Arrays to vectors show what the model reaches of the device's matrix rate, files to vectors what decoding leaves of it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder
from tests.benchmarks.checkpoint import VIT_B_32, VIT_L_14, Geometry, draw_pictures, save_checkpoint

_BATCHES = (32, 128, 512)
_RUNS = 20


def seconds(work: Callable[[], object]) -> float:
    """Return the median time of something that ends on the CPU, after two runs to warm up."""
    times = []
    for _ in range(_RUNS + 2):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[2:])


def matrix_limit(side: int = 8192) -> float:
    """Return how many TFLOP/s of float16 products the device reaches now."""
    one, two = (torch.randn(side, side, dtype=torch.float16, device="cuda") for _ in range(2))

    def product() -> None:
        one @ two
        torch.cuda.synchronize()

    return 2 * side**3 / seconds(product) / 1e12


def vectors_of(encoder: ImageEncoder, parts: list[NDArray[np.uint8]]) -> None:
    """Run the model over batches, two at a time, as `encode` does."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(partial(encoder.backend, output="pooled", device="cuda:0"), parts))


def rows(geometry: Geometry, limit: float, images: Path) -> list[str]:
    """Measure one geometry, and return its rows of the table."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "checkpoint", geometry)
        encoder = ImageEncoder(Path(folder) / "checkpoint", device="cuda", dtype="float16")
        for batch in _BATCHES:
            pixels = np.random.default_rng(0).integers(0, 256, (8 * batch, 224, 224, 3), dtype=np.uint8)
            parts = np.split(pixels, len(pixels) // batch)
            rate = len(pixels) / seconds(partial(vectors_of, encoder, parts))
            share = rate * geometry.gflop / 1000 / limit
            lines.append(f"| {geometry.name} | arrays, {batch} at a time | {rate:.0f} | {share:.0%} |")
        paths = sorted(images.iterdir())
        paths *= max(1, 1024 // len(paths))
        begun = time.perf_counter()
        for path in paths:
            encoder.loader(path, model_size=(224, 224))
        decoding = (time.perf_counter() - begun) / len(paths)
        begun = time.perf_counter()
        encoder.encode(paths, batch_size=128)
        rate = len(paths) / (time.perf_counter() - begun)
        cores = os.cpu_count() or 1
        lines.append(f"| {geometry.name} | files; {cores} cores decode at most {cores / decoding:.0f} | {rate:.0f} | |")
    return lines


def main() -> None:
    """Measure, or say that there is nothing to measure on."""
    parser = argparse.ArgumentParser(description="Measure the torch backend on a CUDA GPU.")
    parser.add_argument("--images", type=Path, help="folder of photos; drawn pictures by default")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="default: %(default)s")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured")
        return
    limit = matrix_limit()
    with tempfile.TemporaryDirectory() as temporary:
        images = options.images or Path(temporary) / "images"
        if not options.images:
            draw_pictures(images)
        lines = [
            "# On a GPU",
            "",
            f"{torch.cuda.get_device_name()}, {os.cpu_count()} cores, torch {torch.__version__}; random weights in "
            f"float16; matrix products reach {limit:.0f} TFLOP/s here.",
            "",
            "| model | from | images/s | of the matrix limit |",
            "| --- | --- | --- | --- |",
            *rows(VIT_B_32, limit, images),
            *rows(VIT_L_14, limit, images),
        ]
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "gpu.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
