"""How much more threads and processes load than one thread: `python -m tests.programs.benchmarks.loading --images F`.

The model costs nothing, and the files are in memory, so that loading is all that is measured. `gpu.py` adds the table
to its page, since the machine of a GPU has the cores to show it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clip_image_encoder import ClipPreprocess, ImageEncoder
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend
from tests.programs.benchmarks.checkpoint import jpegs

_SIDE = 224
_SECONDS = 2.0
"""Length of a measurement, about."""


@dataclass(frozen=True)
class CostsNothing(ToyBackend):
    """A backend whose features are ones."""

    image_size: tuple[int, int] = (_SIDE, _SIDE)

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Return ones."""
        return np.ones((len(pixels), self.dimension), np.float32)


def loading_table(photos: Sequence[bytes], cores: int, *, runs: int) -> list[str]:
    """Return the lines of a Markdown table: a row for a number of workers, with threads and with processes.

    Args:
        photos: Contents of image files.
        cores: Largest number of workers.
        runs: Measurements of each figure, of which the median is taken.
    """
    lines = ["| workers | threads | processes |", "| --- | --- | --- |"]
    one = None
    for workers in itertools.takewhile(lambda count: count <= cores, (2**power for power in itertools.count())):
        rates = [_rate(photos, workers, load_in=load_in, runs=runs) for load_in in ("threads", "processes")]
        one = one or rates[0]
        cells = (f"{rate:.0f} images/s, {rate / one:.1f}x" for rate in rates)
        lines.append(f"| {workers} | {' | '.join(cells)} |")
    return lines


def _rate(photos: Sequence[bytes], workers: int, *, load_in: str, runs: int) -> float:
    encoder = ImageEncoder(
        backend=CostsNothing(),
        preprocess=ClipPreprocess(resize=_SIDE, crop=(_SIDE, _SIDE), exact=False),
        num_workers=workers,
        load_in=load_in,  # type: ignore[arg-type]  # one of two words
    )
    encoder.encode(photos, show_progress=False)  # starts the processes, too
    begun = time.perf_counter()
    encoder.encode(photos, show_progress=False)
    times = max(1, round(_SECONDS / (time.perf_counter() - begun)))
    many, rates = list(photos) * times, []
    for _ in range(runs):
        begun = time.perf_counter()
        encoder.encode(many, show_progress=False)
        rates.append(len(many) / (time.perf_counter() - begun))
    return statistics.median(rates)


def main() -> None:
    """Measure on this machine."""
    parser = argparse.ArgumentParser(description="Measure loading by threads and by processes.")
    parser.add_argument("--images", type=Path, required=True, help="folder of photos")
    parser.add_argument("--runs", type=int, default=3, help="measurements of each figure; default: %(default)s")
    options = parser.parse_args()
    files = sorted(set(jpegs(options.images, 1000)))
    print("\n".join(loading_table([file.read_bytes() for file in files], os.cpu_count() or 1, runs=options.runs)))


if __name__ == "__main__":
    main()
