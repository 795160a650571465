"""One system in a process of its own, which works on jobs.

Started as python -m tests.programs.benchmarks.worker KIND SYSTEM CHECKPOINT.

{"kind": "first", "inputs": [...]} answers how long it took from the start of the process to the first vector, and
{"kind": "round", "inputs": [...], "batch": 32, "singles": 20, "vectors": FILE} how fast the system is.
"""

from __future__ import annotations

import time

STARTED = time.perf_counter()

import statistics  # noqa: E402 - the clock runs first
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402
from itertools import cycle, islice  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from tests.programs.benchmarks.process import Figures, Job, answer_jobs  # noqa: E402
from tests.programs.benchmarks.systems import IMAGES, TEXTS, System  # noqa: E402


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def peak_megabytes() -> float:
    """Return the most memory that this process has had (Linux); getrusage counts its parent's, too."""
    status = Path("/proc/self/status").read_text("utf-8").split()
    return int(status[status.index("VmHWM:") + 1]) / 1000


def encode_round(system: System, job: Job) -> Figures:
    """Encode all inputs in batches, then single ones; run the parts alone, where the system has them."""
    inputs, batch = job["inputs"], job["batch"]
    begun = time.perf_counter()
    vectors = system.encode(inputs, batch)
    rate = len(inputs) / (time.perf_counter() - begun)
    np.save(job["vectors"], vectors)
    singles = [seconds(partial(system.encode, [one], 1)) for one in islice(cycle(inputs), job["singles"])]
    figures = {
        "rate": rate,
        "p50": float(np.percentile(singles, 50)),
        "p95": float(np.percentile(singles, 95)),
        "memory": peak_megabytes(),
    }
    if system.model and system.load:
        files = list(dict.fromkeys(inputs))
        begun = time.thread_time()
        for file in files:
            system.load(file)
        figures["loading"] = (time.thread_time() - begun) / len(files)
        run = system.model(batch)
        figures["model"] = batch / statistics.median(seconds(run) for _ in range(max(1, len(inputs) // batch)))
    return figures


def main(kind: str, name: str, checkpoint: str) -> None:
    """Load the system at its first job, and answer this one and the others."""
    loaded: list[System] = []

    def work(job: Job) -> Figures:
        if not loaded:
            loaded.append({"images": IMAGES, "texts": TEXTS}[kind][name](Path(checkpoint)))
        if kind == "images":
            job["inputs"] = [Path(file) for file in job["inputs"]]
        if job["kind"] == "first":
            loaded[0].encode(job["inputs"][:1], 1)
            return {"first_vector": time.perf_counter() - STARTED}
        return encode_round(loaded[0], job)

    answer_jobs(work)


if __name__ == "__main__":
    main(*sys.argv[1:])
