"""What would stop a job on many machines: many actors on this one, tiny images and a backend that costs nothing.

Ray is told of as many CPUs as there are actors, one of which dies on the way. What is left of the time is what the
driver, Ray and the files cost: rows a second, memory of the driver, files of the result, rows that were done twice.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import ray
from PIL import Image

from clip_image_encoder import ImageLoader
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.folder import list_images
from clip_image_encoder.integrations.ray import embed_images
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend

_A_FOLDER = 1000


@dataclass(frozen=True, kw_only=True)
class FreeBackend(ToyBackend):
    """Gives each image some vector, and keeps count of the rows that each process has given.

    Attributes:
        counts: Folder with a file for each process, a byte for each of its rows.
        dies: Whether the first actor that has given a thousand rows ends as if it were killed.
    """

    counts: str = ""
    dies: bool = False

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Return `(n, d)` numbers between 0 and 1."""
        count = Path(self.counts) / str(os.getpid())
        with count.open("ab") as file:
            file.write(bytes(len(pixels)))
        if self.dies and count.stat().st_size > _A_FOLDER:
            try:
                (Path(self.counts) / "died").touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os._exit(1)
        return np.random.default_rng(0).random((len(pixels), self.dimension), np.float32)


def main() -> None:
    """Run the job and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actors", type=int, default=64, help="(default: %(default)s)")
    parser.add_argument("--images", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument("--dimension", type=int, default=512, help="of a vector (default: %(default)s)")
    parser.add_argument("--folder", type=Path, help="where the images are made, such as /dev/shm; then deleted")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        root = Path(name)
        linked(root, arguments.images)
        with peak_memory() as peak:
            start = time.perf_counter()
            names = list_images(root / "images", ImageLoader().formats)
            print(f"listed {len(names):,} names in {time.perf_counter() - start:.1f} s; {peak[0]} MiB", flush=True)
            del names
        ray.init(num_cpus=arguments.actors, include_dashboard=False, log_to_driver=False)
        (root / "counts").mkdir()
        backend = FreeBackend(dimension=arguments.dimension, counts=str(root / "counts"), dies=True)
        for number in range(2):
            with peak_memory() as peak:
                start = time.perf_counter()
                embed_images(
                    root / "images",
                    root / "vectors.parquet",
                    backend=backend,  # type: ignore[arg-type]  # what ImageEncoder takes; users name theirs
                    concurrency=arguments.actors,
                    num_cpus=1,
                )
                seconds = time.perf_counter() - start
            print(f"{'again' if number else 'encoded'}: {seconds:.1f} s, driver {peak[0]} MiB at the peak", flush=True)
        report(root, arguments.images, seconds)
        ray.shutdown()


def linked(root: Path, count: int) -> None:
    """Make one tiny JPEG, and so many names for it, a thousand to a folder."""
    Image.new("RGB", (32, 32), "teal").save(root / "tiny.jpg")
    for number in range(count):
        folder = root / "images" / f"{number // _A_FOLDER:05d}"
        if number % _A_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:09d}.jpg").hardlink_to(root / "tiny.jpg")


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Give a list of one number: the most MiB that this process has had in memory of its own so far."""
    peak, ended = [0], threading.Event()

    def watch() -> None:
        while True:
            peak[0] = max(peak[0], own_memory())
            if ended.wait(0.05):
                return

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield peak
    finally:
        ended.set()
        watching.join()


def own_memory() -> int:
    """Return the MiB that this process has in memory without what it shares with others."""
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") >> 20


def report(root: Path, images: int, seconds: float) -> None:
    """Print how the rows were dealt out, and what files there are."""
    rows = [file.stat().st_size for file in (root / "counts").iterdir() if file.name != "died"]
    print(f"{len(rows)} actors had {min(rows):,} to {max(rows):,} rows; done twice: {sum(rows) - images:,}")
    files = list((root / "vectors.parquet").iterdir())
    sizes = Counter(pq.read_metadata(file).num_rows for file in files)
    size = sum(file.stat().st_size for file in files) >> 20
    print(f"{len(files):,} files of {sum(rows * count for rows, count in sizes.items()):,} rows, {size:,} MiB")
    print(f"rows a file: {sizes.most_common(5)}")


if __name__ == "__main__":
    main()
