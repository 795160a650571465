"""The torch backend on a CUDA GPU, in eight minutes at most: `nox -s bench_gpu [-- --images FOLDER]`.

Ready batches show what the model reaches of the device's matrix rate, arrays what handing them over leaves of it, files
what decoding leaves, single images from threads what a server gets. Each of the backend's ways is a column. The last
table says how much more threads and processes load than one thread.
The script itself is tried with a tiny tower by
`python -m tests.programs.benchmarks.gpu --device cpu --runs 1 --output /tmp/gpu`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.serving import MicroBatcher
from tests.programs.benchmarks.checkpoint import VIT_B_32, VIT_L_14, Geometry, draw_pictures, jpegs, save_checkpoint
from tests.programs.benchmarks.loading import loading_table
from tests.programs.benchmarks.systems import sentence_transformers

TINY = Geometry(
    name="tiny",
    dimension=16,
    vision={"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2},
)
WAYS: Mapping[str, Callable[..., TorchBackend]] = {
    "as it is": TorchBackend,
    "cuda_graphs=False": partial(TorchBackend, cuda_graphs=False),
    "compile=True": partial(TorchBackend, compile=True),
}
_THREADS = 40


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One geometry on one device.

    Attributes:
        geometry: Shape of the tower.
        checkpoint: Folder of it, with random weights.
        photos: JPEG files.
        pixels: Images at the model's size.
        device: Name of the device.
        dtype: What it computes in.
        runs: Number of measurements, of which the median is taken.
        calls: Number of calls after which the device's memory is looked at.
        limit: TFLOP/s of matrix products that the device reaches.
        deadline: When to stop, on the clock of `time.monotonic`.
    """

    geometry: Geometry
    checkpoint: Path
    photos: list[Path]
    pixels: NDArray[np.uint8]
    device: str
    dtype: str
    runs: int
    calls: int
    limit: float
    deadline: float

    def table(self) -> list[str]:
        """Return the lines of a Markdown table: a column for each way, a row for each figure."""
        columns = [self._column(way) for way in WAYS]
        rows = [("what", *WAYS), ("---",) * (1 + len(WAYS))]
        rows += [(what, *(column.get(what, "-") for column in columns)) for what in columns[0]]
        return [f"| {' | '.join(row)} |" for row in rows]

    def _column(self, way: str) -> dict[str, str]:
        """Return the figures of one way; one that fails says so, and the others are measured all the same."""
        figures: dict[str, str] = {}

        def add(what: str, measure: Callable[[], str]) -> None:
            if time.monotonic() > self.deadline:
                figures[what] = "no time"
                return
            try:
                figures[what] = measure()
            except Exception as error:  # noqa: BLE001 - the table says it, and there is one GPU for minutes
                figures[what] = f"failed: {str(error).splitlines()[0]}".replace("|", "/")
            print(f"{self.geometry.name}: {way}: {what}: {figures[what]}", flush=True)

        kept: list[ImageEncoder] = []

        def begin() -> str:
            begun = time.perf_counter()
            kept.append(self._encoder(way))
            kept[0].encode(self.pixels[:256], show_progress=False)
            return f"{time.perf_counter() - begun:.1f} s"

        add("loading, until the first call has ended", begin)
        if kept:
            for what, measure in self._measures(kept[0]).items():
                add(what, measure)
            if way == "as it is":
                add("encode(files)", partial(self._files, way, "threads"))
                add('encode(files), load_in="processes"', partial(self._files, way, "processes"))
                add(f"sentence-transformers {version('sentence-transformers')}, files", self._sentence_transformers)
        return figures

    def _encoder(self, way: str, load_in: Literal["threads", "processes"] = "threads") -> ImageEncoder:
        return ImageEncoder(self.checkpoint, backend=WAYS[way], device=self.device, dtype=self.dtype, load_in=load_in)

    def _files(self, way: str, load_in: Literal["threads", "processes"]) -> str:
        work = partial(self._encoder(way, load_in).encode, self.photos, show_progress=False)
        return self._images(len(self.photos), work, runs=1)

    def _sentence_transformers(self) -> str:
        system = sentence_transformers(self.checkpoint, self.dtype, images=True, device=self.device)
        photos = self.photos[: len(self.photos) // 4]  # it takes long
        return self._images(len(photos), partial(system.encode, photos, 128), runs=1)

    def _measures(self, encoder: ImageEncoder) -> dict[str, Callable[[], str]]:
        count = len(self.pixels)
        arrays = partial(encoder.encode, self.pixels, show_progress=False)
        return {
            "ready batches of 32": partial(self._images, count, partial(self._ready, encoder, 32)),
            "ready batches of 128": partial(self._images, count, partial(self._ready, encoder, 128)),
            "encode(arrays), batches of 32": partial(self._images, count, partial(arrays, 32)),
            "encode(arrays)": partial(self._images, count, arrays),
            "one array at a time, median": partial(self._latency, encoder),
            f"MicroBatcher, {_THREADS} threads of single arrays": partial(self._from_threads, encoder),
            f"MiB reserved after 1 call and {self.calls}": partial(self._reserved, encoder),
            "cosine to float32 on the CPU, mean and worst": partial(self._cosines, encoder),
        }

    def _ready(self, encoder: ImageEncoder, batch: int) -> None:
        """Run the model over batches, two at a time, as `encode` does."""
        run = partial(encoder.backend, output="pooled", device=encoder.backend.devices[0])
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, np.array_split(self.pixels, max(1, len(self.pixels) // batch))))

    def _latency(self, encoder: ImageEncoder) -> str:
        return f"{1000 * seconds(partial(encoder.encode, self.pixels[0]), 10 * self.runs):.2f} ms"

    def _from_threads(self, encoder: ImageEncoder) -> str:
        taken: list[float] = []
        with MicroBatcher(encoder) as batcher, ThreadPoolExecutor(_THREADS) as callers:

            def call(array: NDArray[np.uint8]) -> None:
                begun = time.perf_counter()
                batcher.encode(array)
                taken.append(time.perf_counter() - begun)

            list(callers.map(call, self.pixels))  # once to warm up
            taken.clear()
            begun = time.perf_counter()
            list(callers.map(call, self.pixels))
            rate = len(self.pixels) / (time.perf_counter() - begun)
        p50, p99 = np.percentile(taken, (50, 99))
        return f"{rate:.0f} images/s, p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms"

    def _reserved(self, encoder: ImageEncoder) -> str:
        if not self.device.startswith("cuda"):
            return "-"
        torch.cuda.empty_cache()
        figures = []
        for calls in (1, self.calls - 1):
            for _ in range(calls):
                encoder.encode(self.pixels[:256], show_progress=False)
            figures.append(torch.cuda.memory_reserved() / 2**20)
        return f"{figures[0]:.0f} and {figures[1]:.0f}"

    def _cosines(self, encoder: ImageEncoder) -> str:
        cosines = (self._exact * encoder.encode(self.pixels[:32], show_progress=False)).sum(axis=1)
        return f"{cosines.mean():.6f}, {cosines.min():.6f}"

    @cached_property
    def _exact(self) -> NDArray[np.float32]:
        encoder = ImageEncoder(self.checkpoint, device="cpu", dtype="float32")
        return encoder.encode(self.pixels[:32], show_progress=False)

    def _images(self, count: int, work: Callable[[], object], runs: int | None = None) -> str:
        rate = count / seconds(work, runs or self.runs)
        return f"{rate:.0f} images/s, {rate * self.geometry.gflop / 1000 / self.limit:.0%} of the limit"


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
    parser.add_argument(
        "--minutes", type=float, default=7.5, help="when to begin no other figure; default: %(default)s"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="default: %(default)s")
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    on_cuda = options.device.startswith("cuda")
    if on_cuda and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured")
        return
    dtype = "float16" if on_cuda else "bfloat16"
    limit = matrix_limit(options.device, getattr(torch, dtype), options.runs)
    name = torch.cuda.get_device_name() if on_cuda else options.device
    cores = os.cpu_count() or 1
    lines = [
        "# On a GPU",
        "",
        f"{name}, {cores} cores, torch {torch.__version__}; random weights in {dtype}; matrix products "
        f"reach {limit:.1f} TFLOP/s here, which is the limit that is meant. `nox -s bench_gpu` writes this page.",
    ]
    options.output.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (1024 if on_cuda else 64, 224, 224, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        images = options.images or Path(temporary) / "images"
        if not options.images:
            draw_pictures(images, 64 if on_cuda else 4)
        for geometry in (VIT_B_32, VIT_L_14) if on_cuda else (TINY,):
            checkpoint = Path(temporary) / geometry.name.replace("/", "-")
            save_checkpoint(checkpoint, geometry)
            bench = Bench(
                geometry=geometry,
                checkpoint=checkpoint,
                photos=jpegs(images, len(pixels)),
                pixels=pixels,
                device=options.device,
                dtype=dtype,
                runs=options.runs,
                calls=50,
                limit=limit,
                deadline=deadline,
            )
            lines += ["", f"## {geometry.name}", "", *bench.table()]
            (options.output / "gpu.md").write_text("\n".join(lines) + "\n", "utf-8")
        lines += ["", "## Loading", "", "The same files in memory, and a model that costs nothing.", ""]
        lines += loading_table([file.read_bytes() for file in sorted(set(jpegs(images, 1000)))], cores, runs=1)
        (options.output / "gpu.md").write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
