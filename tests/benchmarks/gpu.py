"""The torch backend on a CUDA GPU, in eight minutes at most: `nox -s bench_gpu [-- --images FOLDER]`.

Ready batches show what the model reaches of the device's matrix rate, arrays what handing them over leaves of it, files
what decoding leaves, single images from threads what a server gets. `--device cpu --runs 1` tries the script itself.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.images import ImageInput
from clip_image_encoder.serving import MicroBatcher
from tests.benchmarks.checkpoint import VIT_B_32, VIT_L_14, Geometry, draw_pictures, jpegs, save_checkpoint

_BATCHES = (32, 128, 256)
_THREADS = 40
_CALLS = 50


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One geometry on one device.

    Attributes:
        geometry: Shape of the tower.
        checkpoint: Folder of it, with random weights.
        photos: JPEG files.
        device: Name of the device.
        dtype: What it computes in.
        runs: Number of measurements, of which the median is taken.
        limit: TFLOP/s of matrix products that the device reaches.
    """

    geometry: Geometry
    checkpoint: Path
    photos: list[Path]
    device: str
    dtype: str
    runs: int
    limit: float

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield what is measured and the figure."""
        encoder = ImageEncoder(self.checkpoint, device=self.device, dtype=self.dtype)
        pixels = np.random.default_rng(0).integers(0, 256, (4 * max(_BATCHES), 224, 224, 3), dtype=np.uint8)
        for batch in _BATCHES:
            yield f"ready batches of {batch}", self._images(len(pixels), partial(self._ready, encoder, pixels, batch))
        for batch in _BATCHES:
            work = partial(encoder.encode, pixels, batch, show_progress=False)
            yield f"encode(arrays), batches of {batch}", self._images(len(pixels), work)
        yield (
            "encode(files), batches of 256",
            self._images(len(self.photos), partial(encoder.encode, self.photos, 256, show_progress=False)),
        )
        yield "one array at a time, median", f"{1000 * self._seconds(partial(encoder.encode, pixels[0])):.2f} ms"
        with MicroBatcher(encoder) as batcher:
            yield f"MicroBatcher, {_THREADS} threads of single arrays", self._from_threads(batcher, list(pixels[:400]))
        yield f"reserved memory after 1 call and after {_CALLS}", self._reserved(encoder, pixels[:256])
        exact = ImageEncoder(self.checkpoint, device="cpu", dtype="float32").encode(pixels[:32], show_progress=False)
        cosines = (exact * encoder.encode(pixels[:32], show_progress=False)).sum(axis=1)
        yield (
            f"cosine of {self.dtype} to float32 on the CPU, mean and worst",
            f"{cosines.mean():.5f}, {cosines.min():.5f}",
        )
        yield from self._compiled(pixels)

    def _compiled(self, pixels: NDArray[np.uint8]) -> Iterator[tuple[str, str]]:
        begun = time.perf_counter()
        backend = partial(TorchBackend, compile=True)
        encoder = ImageEncoder(self.checkpoint, backend=backend, device=self.device, dtype=self.dtype)
        work = partial(encoder.encode, pixels, 256, show_progress=False)
        work()
        yield "torch.compile, until the first call has ended", f"{time.perf_counter() - begun:.0f} s"
        yield "encode(arrays) compiled, batches of 256", self._images(len(pixels), work)
        begun = time.perf_counter()
        encoder.encode(pixels[:100], 100, show_progress=False)
        yield "compiled, the first call with another batch size", f"{time.perf_counter() - begun:.1f} s"

    def _ready(self, encoder: ImageEncoder, pixels: NDArray[np.uint8], batch: int) -> None:
        """Run the model over batches, two at a time, as `encode` does."""
        with ThreadPoolExecutor(2) as pool:
            parts = np.split(pixels, len(pixels) // batch)
            list(pool.map(partial(encoder.backend, output="pooled", device=encoder.backend.devices[0]), parts))

    def _from_threads(self, batcher: MicroBatcher[ImageInput], arrays: list[NDArray[np.uint8]]) -> str:
        taken: list[float] = []

        def call(array: NDArray[np.uint8]) -> None:
            begun = time.perf_counter()
            batcher.encode(array)
            taken.append(time.perf_counter() - begun)

        begun = time.perf_counter()
        with ThreadPoolExecutor(_THREADS) as callers:
            list(callers.map(call, arrays))
        rate = len(arrays) / (time.perf_counter() - begun)
        p50, p99 = np.percentile(taken, (50, 99))
        return f"{rate:.0f} images/s, p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms"

    def _reserved(self, encoder: ImageEncoder, pixels: NDArray[np.uint8]) -> str:
        if not self.device.startswith("cuda"):
            return "-"
        figures = []
        for calls in (1, _CALLS - 1):
            for _ in range(calls):
                encoder.encode(pixels, 64, show_progress=False)
            figures.append(torch.cuda.memory_reserved() / 2**20)
        return f"{figures[0]:.0f} and {figures[1]:.0f} MiB"

    def _images(self, count: int, work: Callable[[], object]) -> str:
        rate = count / self._seconds(work)
        return f"{rate:.0f} images/s, {rate * self.geometry.gflop / 1000 / self.limit:.0%} of the matrix limit"

    def _seconds(self, work: Callable[[], object]) -> float:
        return seconds(work, self.runs)


def seconds(work: Callable[[], object], runs: int) -> float:
    """Return the median time of something that ends on the CPU, after one run to warm up."""
    times = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times[1:])


def matrix_limit(device: str, dtype: torch.dtype, runs: int) -> float:
    """Return how many TFLOP/s of matrix products a device reaches now."""
    side = 8192 if device.startswith("cuda") else 1024
    one, two = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))

    def product() -> None:
        one @ two
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    return 2 * side**3 / seconds(product, max(5, runs)) / 1e12


def main() -> None:
    """Measure, or say that there is nothing to measure on."""
    parser = argparse.ArgumentParser(description="Measure the torch backend on a GPU.")
    parser.add_argument("--images", type=Path, help="folder of photos; drawn ones by default")
    parser.add_argument("--device", default="cuda", help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=5, help="measurements of each figure; default: %(default)s")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="default: %(default)s")
    options = parser.parse_args()
    on_cuda = options.device.startswith("cuda")
    if on_cuda and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured")
        return
    dtype = "float16" if on_cuda else "bfloat16"
    limit = matrix_limit(options.device, getattr(torch, dtype), options.runs)
    name = torch.cuda.get_device_name() if on_cuda else options.device
    lines = [
        "# On a GPU",
        "",
        f"{name}, {os.cpu_count()} cores, torch {torch.__version__}; random weights in {dtype}; matrix products reach "
        f"{limit:.1f} TFLOP/s here.",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        images = options.images or Path(temporary) / "images"
        if not options.images:
            draw_pictures(images)
        for geometry in (VIT_B_32, VIT_L_14):
            checkpoint = Path(temporary) / geometry.name.replace("/", "-")
            save_checkpoint(checkpoint, geometry)
            lines += ["", f"## {geometry.name}", "", "| what | figure |", "| --- | --- |"]
            bench = Bench(
                geometry=geometry,
                checkpoint=checkpoint,
                photos=jpegs(images, 1024 if on_cuda else 64),
                device=options.device,
                dtype=dtype,
                runs=options.runs,
                limit=limit,
            )
            for what, figure in bench.rows():
                print(f"{geometry.name}: {what}: {figure}", flush=True)
                lines.append(f"| {what} | {figure} |")
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "gpu.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
