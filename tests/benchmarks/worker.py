"""One system in a process of its own, which prints its figures as JSON.

python -m tests.benchmarks.worker NAME CHECKPOINT IMAGES VECTORS
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import json  # noqa: E402 - the clock runs first
import statistics  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402
from itertools import cycle, islice  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from tests.benchmarks.systems import BATCH, SYSTEMS  # noqa: E402

_LEAST_IMAGES = 128
_SINGLES = 40
_MODEL_RUNS = 7


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def peak_megabytes() -> float:
    """Return the most memory that this process has had (Linux); getrusage counts its parent's, too."""
    status = Path("/proc/self/status").read_text("utf-8").split()
    return int(status[status.index("VmHWM:") + 1]) / 1000


def main() -> None:
    """Load, encode one image, then all of them, then single ones."""
    name, checkpoint, images, vectors = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    paths = files * -(-_LEAST_IMAGES // len(files))
    system = SYSTEMS[name](checkpoint)
    system.encode(paths[:1])
    first = time.perf_counter() - STARTED
    system.encode(paths[:BATCH])
    begun = time.perf_counter()
    encoded = system.encode(paths)
    rate = len(paths) / (time.perf_counter() - begun)
    np.save(vectors, encoded)
    singles = [seconds(partial(system.encode, [path])) for path in islice(cycle(paths), _SINGLES)]
    figures = {
        "images_a_second": rate,
        "first_vector": first,
        "p50": float(np.percentile(singles, 50)),
        "p95": float(np.percentile(singles, 95)),
        "memory": peak_megabytes(),
    }
    if system.model and system.load:
        begun = time.thread_time()
        for path in files:
            system.load(path)
        figures["loading"] = (time.thread_time() - begun) / len(files)
        figures["model"] = BATCH / statistics.median(seconds(system.model) for _ in range(_MODEL_RUNS))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
