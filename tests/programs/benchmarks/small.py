"""Exported folders beside fastembed and sentence-transformers, in one run and in turn: `nox -s bench_small`.

Each system has an environment of its own, with nothing but what it needs. All have ViT-B/32's two towers, with the
same random weights, and CLIP's own tokenizer. Absolute times mean little on a shared machine: read the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from clip_image_encoder.export import export
from tests.programs.benchmarks.checkpoint import (
    captions,
    draw_pictures,
    jpegs,
    save_checkpoint,
    save_for_fastembed,
    save_texts_for_fastembed,
    save_tokenizer,
)
from tests.programs.benchmarks.environments import packages, size, versions
from tests.programs.benchmarks.machine import processor
from tests.programs.benchmarks.process import Figures, Job, Worker

OURS, THEIRS = ("onnx", "openvino"), "fastembed"
SYSTEMS = (*OURS, THEIRS, "sentence-transformers")
_IN_MEMORY = 1000
_TRIED = 128
# Seconds between two systems: fastembed's threads spin for 34 ms after a call, which would count for the next system.
_PAUSE = 0.5
_WORKER = Path(__file__).with_name("small_worker.py")


class Bench:
    """The measurements, each of which is a row of the table."""

    def __init__(self, environments: Path, folders: dict[str, Path], photos: Path, rounds: int, count: int) -> None:
        self.pythons = {system: environments / system / "bin" / "python" for system in SYSTEMS}
        self.folders = folders
        self.rounds = rounds
        self.texts = captions(max(count, _TRIED))
        self.images = list(map(str, jpegs(photos, max(count, _IN_MEMORY))))
        self.count = count
        self.best: dict[str, Job] = {"images": {"batch": 32}, "texts": {"batch": 32}}

    def start(self, system: str) -> Worker:
        """Return a process of a system."""
        return Worker([self.pythons[system], "-I", "-W", "ignore", _WORKER, system, self.folders[system]])

    def job(self, system: str, kind: str, inputs: list[str], **other: Any) -> Job:
        """Return a job with the best settings of the system."""
        best = self.best[kind] if system == THEIRS else {"batch": 32}
        if system != THEIRS:
            other = {name: value for name, value in other.items() if name != "running"}
        return {"kind": kind, "inputs": inputs, **best, **other}

    def find_best(self) -> None:
        """Find fastembed's best threads and batch in one process; processes of its own have a row of their own."""
        for kind, inputs in (("images", self.images), ("texts", self.texts)):
            tried = [
                {"opening": {"threads": threads}, "batch": batch}
                for threads, batch in ((None, 8), (None, 16), (None, 32), (1, 16))
            ]
            seconds: defaultdict[int, list[float]] = defaultdict(list)
            with self.start(THEIRS) as worker:
                for _ in range(2):
                    for number, settings in enumerate(tried):
                        job = {"kind": kind, "inputs": inputs[:_TRIED], **settings}
                        worker.work({**job, "inputs": inputs[:8]})
                        seconds[number].append(worker.work(job)["seconds"])
            self.best[kind] = tried[min(seconds, key=lambda number: min(seconds[number]))]
            rates = {json.dumps(tried[number]): round(_TRIED / min(times)) for number, times in seconds.items()}
            print(f"fastembed, {kind} a second: {rates}", flush=True)

    def first(self, kind: str, inputs: list[str], systems: Sequence[str]) -> Figures:
        """Return the seconds of a whole process that encodes one input; the first start warms the disk."""

        def begin(system: str) -> float:
            begun = time.perf_counter()
            with self.start(system) as worker:
                worker.work({"kind": kind, "inputs": inputs[:1], "batch": 32})
            return time.perf_counter() - begun

        starts = [{system: begin(system) for system in systems} for _ in range(self.rounds + 1)]
        return {system: statistics.median(start[system] for start in starts[1:]) for system in systems}

    def memory(self) -> Figures:
        """Return the resident megabytes after a thousand images."""
        figures = {}
        for system in (*OURS, THEIRS):
            with self.start(system) as worker:
                job = self.job(system, "images", self.images[:_IN_MEMORY])
                figures[system] = worker.work(job)["resident"]
        return figures

    def rates(self, kind: str, inputs: list[str], systems: Sequence[str], **other: Any) -> tuple[Figures, Figures]:
        """Return inputs a second, and what a system's process computes for one, in milliseconds of a core."""
        with ExitStack() as stack:
            workers = {system: stack.enter_context(self.start(system)) for system in systems}
            jobs = {system: self.job(system, kind, inputs, **other) for system in systems}
            for system, worker in workers.items():
                worker.work({**jobs[system], "inputs": inputs[:32]})

            def work(system: str) -> Figures:
                time.sleep(_PAUSE)
                return workers[system].work(jobs[system])

            answers = [{system: work(system) for system in systems} for _ in range(self.rounds)]
        seconds, computing = (
            {system: statistics.median(answer[system][name] for answer in answers) for system in systems}
            for name in ("seconds", "computing")
        )
        return (
            {system: len(inputs) / taken for system, taken in seconds.items()},
            {system: 1000 * taken / len(inputs) for system, taken in computing.items()},
        )


def row(what: str, figures: Figures, digits: int) -> None:
    """Print one row: the figures, and their ratios to fastembed's."""
    cells = []
    for system in SYSTEMS:
        if system in figures:
            ratio = f" ({figures[system] / figures[THEIRS]:.2f}x)" if system != THEIRS else ""
            cells.append(f"{figures[system]:.{digits}f}{ratio}")
        else:
            cells.append("")
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def save_models(folder: Path) -> dict[str, Path]:
    """Write what each system loads, and return where it is."""
    checkpoint = folder / "vit-b-32"
    folders = {system: folder / system for system in (*OURS, THEIRS)} | {"sentence-transformers": checkpoint}
    if not checkpoint.exists():
        save_checkpoint(checkpoint)
        save_tokenizer(checkpoint)
        save_for_fastembed(checkpoint, folders[THEIRS] / "images")
        save_texts_for_fastembed(checkpoint, folders[THEIRS] / "texts")
    for backend in OURS:
        if not folders[backend].exists():
            export(checkpoint, folders[backend], backend=backend)
    return folders


def main() -> None:
    """Read the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=Path, required=True, help="folder of virtual environments, by system")
    parser.add_argument("--models", type=Path, help="folder where the models are kept for another run")
    parser.add_argument("--images", type=Path, help="folder of JPEGs of about a megapixel; drawn ones by default")
    parser.add_argument("--rounds", type=int, default=7, help="(default: %(default)s)")
    parser.add_argument("--count", type=int, default=256, help="inputs a round (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folders, images = save_models(options.models or Path(temporary)), options.images
        if not images:
            images = Path(temporary) / "images"
            draw_pictures(images)
        bench = Bench(options.environments, folders, images, options.rounds, options.count)
        found = {system: versions(bench.pythons[system]) for system in SYSTEMS}
        print(f"{processor()}, {os.cpu_count()} cores; {found}\n")
        bench.find_best()
        print(f"fastembed's best settings: {bench.best}\n\n| | {' | '.join(SYSTEMS)} |\n|{' --- |' * 5}", flush=True)
        row("site-packages, MB", {system: size(packages(python)) for system, python in bench.pythons.items()}, 0)
        row("first image's vector, s", bench.first("images", bench.images, (*OURS, THEIRS)), 2)
        row("first text's vector, s", bench.first("texts", bench.texts, SYSTEMS), 2)
        row("resident after 1,000 images, MB", bench.memory(), 0)
        # Each process of fastembed's loads the model once a call: many images make up for it.
        many = f" in one call of {_IN_MEMORY}, fastembed with parallel=0"
        parallel = {"running": {"parallel": 0}}
        rows: tuple[tuple[str, str, list[str], Sequence[str], Job], ...] = (
            ("images", "", bench.images[: bench.count], (*OURS, THEIRS), {}),
            ("images", many, bench.images[:_IN_MEMORY], (*OURS, THEIRS), parallel),
            ("texts", " in batches of 32", bench.texts[: bench.count], SYSTEMS, {}),
            ("texts", " one by one", bench.texts[: bench.count], SYSTEMS, {"batch": 1}),
        )
        for kind, how, inputs, systems, other in rows:
            rates, computing = bench.rates(kind, inputs, systems, **other)
            row(f"{kind}/s{how}", rates, 1)
            row(f"core-ms, one of {kind}{how}", computing, 1)


if __name__ == "__main__":
    main()
