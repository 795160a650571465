"""What Ray costs: one actor against one process, ViT-B/32 on this machine's CPU, at steady state.

Both encode a folder once and twice over; the difference of the two times has no start-up in it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ray

from clip_image_encoder import ImageEncoder
from clip_image_encoder.folder import embed_folder
from clip_image_encoder.integrations.ray import embed_images
from tests.programs.benchmarks.checkpoint import jpegs, save_checkpoint


def main() -> None:
    """Print images a second of both, in turn, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, required=True, help="folder of photos")
    parser.add_argument("--count", type=int, default=600, help="photos of the shorter run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        model = root / "model"
        save_checkpoint(model)
        short = copied(arguments.images, root / "short", arguments.count)
        long = copied(arguments.images, root / "long", 2 * arguments.count)
        ray.init(include_dashboard=False, log_to_driver=False)
        ways: dict[str, Callable[[Path, Path], object]] = {
            "one process": lambda source, to: embed_folder(source, to, ImageEncoder(model, device="cpu")),
            "one actor": lambda source, to: embed_images(str(source), str(to), encoder=model),
        }
        rates: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(arguments.rounds):
            for way, run in ways.items():
                seconds = timed(run, long, root / "vectors") - timed(run, short, root / "vectors")
                rates[way].append(arguments.count / seconds)
                print(f"{way}: {rates[way][-1]:.1f} images/s", flush=True)
        ray.shutdown()
    alone, actor = (statistics.median(rates[way]) for way in ways)
    print(f"medians: {alone:.1f} and {actor:.1f} images/s; Ray costs {1 - actor / alone:.0%}")


def copied(photos: Path, folder: Path, count: int) -> Path:
    """Return a new folder with so many of the photos, each as often as needed."""
    folder.mkdir()
    for number, file in enumerate(jpegs(photos, count)):
        shutil.copy(file, folder / f"{number:05d}.jpg")
    return folder


def timed(run: Callable[[Path, Path], object], source: Path, destination: Path) -> float:
    """Return the seconds that a run takes; what it writes is deleted."""
    start = time.perf_counter()
    run(source, destination)
    seconds = time.perf_counter() - start
    shutil.rmtree(destination)
    return seconds


if __name__ == "__main__":
    main()
