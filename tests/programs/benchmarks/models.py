"""The tables of docs/how-to/choose-a-model.md: `nox -s bench_models [-- --rounds 3 --largest 1.2 --only NAME ...]`.

Each tower has random weights, in its true size. It runs on one thread, and the time is that of the processor: what
else the machine does hardly counts. The model that all are compared with runs before and after each round of another
one, so that a change of the clock's rate slows both down.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder
from clip_image_encoder.errors import CheckpointError
from tests.programs.benchmarks.geometries import CLIP_B_32, Tower
from tests.programs.benchmarks.machine import processor
from tests.programs.benchmarks.published import IMAGE_ONLY, IMAGE_TEXT, ImageOnly, ImageText

Model: TypeAlias = ImageText | ImageOnly
Ratios: TypeAlias = dict[tuple[Tower, str], float]

DTYPES = ("float32", "bfloat16")
_BATCH = 8
_SECONDS = 1.0
"""How much of the processor's time a round of one model takes at least; one batch may take longer."""

_COLUMNS = ("checkpoint", "parameters", "vector", "pixels", "images/s", "in bfloat16")
_FOUND = ("ImageNet", "COCO", "Flickr30k", "from")
_RETRIEVED = ("Oxford-Hard", "from")


@dataclass(frozen=True)
class Loaded:
    """An encoder, and images of the size that its model takes."""

    encoder: ImageEncoder
    images: Sequence[NDArray[np.uint8]]

    def rate(self) -> float:
        """Return how many images it encodes in a second of the processor's time."""
        done, begun = 0, time.process_time()
        while not done or time.process_time() - begun < _SECONDS:
            self.encoder.encode(self.images, batch_size=_BATCH)
            done += len(self.images)
        return done / (time.process_time() - begun)


def load(tower: Tower, dtype: str) -> Loaded:
    """Write a checkpoint of random weights, load it, and delete it."""
    pixels = np.random.default_rng(0).integers(0, 256, (_BATCH, tower.side, tower.side, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        tower.save(Path(folder) / "checkpoint")
        encoder = ImageEncoder(Path(folder) / "checkpoint", device="cpu", dtype=dtype)
    # The first call packs the weights.
    encoder.encode(pixels[:2])
    return Loaded(encoder, list(pixels))


def ratio(model: Loaded, reference: Loaded, rounds: int) -> float:
    """Return the median over the rounds of a model's rate by that of the reference before and after."""
    ratios, before = [], reference.rate()
    for _ in range(rounds):
        rate, after = model.rate(), reference.rate()
        ratios.append(rate / statistics.mean((before, after)))
        before = after
    return statistics.median(ratios)


def measure(towers: Iterable[Tower], dtype: str, rounds: int) -> Ratios:
    """Measure towers, the smallest first; one that can't be loaded here is left out."""
    reference = load(CLIP_B_32, dtype)
    ratios: Ratios = {(CLIP_B_32, dtype): 1.0}
    print(f"{dtype}: the reference encodes {reference.rate():.1f} images/s", flush=True)
    for tower in sorted(set(towers) - {CLIP_B_32}, key=lambda tower: tower.parameters):
        measured = _try(tower, dtype, reference, rounds)
        gc.collect()  # an encoder has cycles, and gigabytes
        print(dtype, measured, tower, flush=True)
        if isinstance(measured, float):
            ratios[tower, dtype] = measured
    return ratios


def _try(tower: Tower, dtype: str, reference: Loaded, rounds: int) -> float | CheckpointError:
    try:
        return ratio(load(tower, dtype), reference, rounds)
    except CheckpointError as error:
        return error


def cells(model: Model) -> tuple[str, ...]:
    """Return what a row of the tables starts with: what can be counted without weights."""
    tower = model.tower
    name = f"[`{model.name}`](https://huggingface.co/{model.name})"
    return (name, f"{tower.parameters / 1e6:.0f} M", str(tower.dimension), str(tower.side))


def row(model: Model, ratios: Ratios) -> str:
    """Return a row of a table."""
    return _line((*cells(model), *(_speed(ratios.get((model.tower, dtype))) for dtype in DTYPES), *model.figures))


def _speed(value: float | None) -> str:
    """Return a ratio with two digits that count."""
    if value is None:
        return "-"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def table(models: Iterable[Model], figures: Sequence[str], ratios: Ratios) -> str:
    """Return a table in Markdown."""
    columns = (*_COLUMNS, *figures)
    return "\n".join((_line(columns), _line(["---"] * len(columns)), *(row(model, ratios) for model in models)))


def _line(columns: Iterable[str]) -> str:
    return f"| {' | '.join(columns)} |"


def main() -> None:
    """Read the command line, measure, and print the tables."""
    parser = argparse.ArgumentParser(description="Measure the towers of public checkpoints on this machine.")
    parser.add_argument("--rounds", type=int, default=3, help="how often each runs (default: %(default)s)")
    parser.add_argument("--largest", type=float, default=1.2, help="billions of parameters (default: %(default)s)")
    parser.add_argument("--only", nargs="*", help="names of checkpoints; all by default")
    options = parser.parse_args()
    known: tuple[Model, ...] = (*IMAGE_TEXT, *IMAGE_ONLY)
    chosen = {model.name for model in known} if options.only is None else set(options.only)
    towers = {model.tower for model in known if model.name in chosen}
    towers = {tower for tower in towers if tower.parameters <= options.largest * 1e9}
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    machine = processor()
    ratios: Ratios = {}
    for dtype in DTYPES if "bf16" in machine else DTYPES[:1]:
        ratios |= measure(towers, dtype, options.rounds)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"\n{machine}, one thread; {versions}; batches of {_BATCH} arrays\n")
    print(table([model for model in IMAGE_TEXT if model.name in chosen], _FOUND, ratios))
    print()
    print(table([model for model in IMAGE_ONLY if model.name in chosen], _RETRIEVED, ratios))


if __name__ == "__main__":
    main()
