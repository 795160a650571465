"""Inputs to vectors, every system in turn: `nox -s bench [-- --images FOLDER --rounds 5 --steps b-32 texts ...]`.

Each system is a process of its own, so that nobody's threads, caches or allocators help or hinder another; a round
has each of them once. Read the ratios within a round: absolute times mean little on a shared machine.

Each round is kept in cpu.json of the output folder when it is done. After an interruption, `--missing` measures what
this file lacks. The page, the plot, and the figures in README and docs are written from this file; `--report` does
only that.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import transformers

from tests.programs.benchmarks.checkpoint import (
    captions,
    draw_pictures,
    jpegs,
    save_checkpoint,
    save_for_fastembed,
    save_texts_for_fastembed,
    save_tokenizer,
)
from tests.programs.benchmarks.hold import hold_to_avx2
from tests.programs.benchmarks.machine import describe
from tests.programs.benchmarks.plot import write_plot
from tests.programs.benchmarks.process import Figures, Job, Worker
from tests.programs.benchmarks.quoted import quote_everywhere
from tests.programs.benchmarks.report import write_page
from tests.programs.benchmarks.results import LIMITS, Part, Results, Round
from tests.programs.benchmarks.steps import STEPS, Step
from tests.programs.benchmarks.systems import EXACT

_PACKAGES = ("torch", "transformers", "sentence-transformers", "fastembed", "onnxruntime", "openvino", "pillow")
_DOCS = Path("docs/benchmarks")
_OF_EACH_FILE = 42
"""Files whose entropy decoding is timed."""


class Measurement:
    """One step, with its processes."""

    def __init__(
        self, step: Step, checkpoint: Path, photos: Path, scratch: Path, environment: Mapping[str, str]
    ) -> None:
        self._step, self._checkpoint, self._scratch, self._environment = step, checkpoint, scratch, environment
        self._photos = list(map(str, jpegs(photos, max(step.count, _OF_EACH_FILE))))
        self._inputs = captions(step.count) if step.kind == "texts" else self._photos[: step.count]

    def start(self, system: str) -> Worker:
        """Return a process of a system."""
        # A cache of its own: the first start of each is a cold one.
        environment = {"HF_HOME": str(self._scratch / f"{system}.cache"), **self._environment}
        command = [sys.executable, "-W", "ignore", "-m"]
        if self._step.kind == "serving":
            return Worker([*command, "tests.programs.benchmarks.serving", self._checkpoint], environment)
        return Worker(
            [*command, "tests.programs.benchmarks.worker", self._step.kind, system, self._checkpoint], environment
        )

    def run(self, results: Results, name: str, rounds: int) -> None:
        """Add so many rounds to a part of the results, and save each."""
        part = results[name]
        with ExitStack() as stack:
            workers: dict[str, tuple[Worker, Job]] = {}
            if self._step.kind == "images":
                command = [sys.executable, "-m", "tests.programs.benchmarks.limits"]
                workers[LIMITS] = (stack.enter_context(Worker(command, self._environment)), self._limits())
            for system in self._step.systems:
                if self._step.starts or system.startswith(("onnx", "openvino")):
                    self._start_cold(part, system)
                worker = stack.enter_context(self.start(system))
                if self._step.kind != "serving":
                    part.starts.setdefault(system, {})["warm"] = worker.work(self._first())["first_vector"]
                workers[system] = worker, self._round(system)
            for number in range(rounds):
                round_: Round = {}
                for system, (worker, job) in workers.items():
                    round_[system] = worker.work(job)
                    print(number, name, system, _short(round_[system]), flush=True)
                part.rounds.append(round_)
                part.date = f"{datetime.now(timezone.utc):%Y-%m-%d}"
                part.cosines = self._cosines()
                results.save()

    def _start_cold(self, part: Part, system: str) -> None:
        """Have a process make what is cached, graphs above all."""
        if not (self._scratch / f"{system}.cache").exists():
            with self.start(system) as worker:
                part.starts[system] = {"cold": worker.work(self._first())["first_vector"]}
            print("cold start", system, _short(part.starts[system]), flush=True)

    def _first(self) -> Job:
        return {"kind": "first", "inputs": self._inputs}

    def _limits(self) -> Job:
        config = self._step.geometry.config
        photos = self._photos[:_OF_EACH_FILE]
        return {"width": config.hidden_size, "mlp": config.intermediate_size, "photos": photos}

    def _round(self, system: str) -> Job:
        step = self._step
        job: Job = {"kind": "round", "inputs": self._inputs, "batch": step.batch, "singles": step.singles}
        return {**job, "vectors": str(self._vectors(system))}

    def _vectors(self, system: str) -> Path:
        return self._scratch / f"{system}.npy"

    def _cosines(self) -> Figures:
        """Return the least cosine of each system's vectors to the exact ones, where those are there."""
        if EXACT not in self._step.systems:
            return {}
        exact = np.load(self._vectors(EXACT))
        return {name: float((np.load(self._vectors(name)) * exact).sum(axis=1).min()) for name in self._step.systems}


def _short(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in figures.items()}


def save_models(step: Step, folder: Path) -> Path:
    """Write what the systems of a step load, unless it is there."""
    checkpoint = folder / step.geometry.name.replace("/", "-").replace(" ", "-")
    if not checkpoint.exists():
        save_checkpoint(checkpoint, step.geometry)
        if step.geometry.network == "CLIP":
            save_tokenizer(checkpoint)
    fastembed = [system for system in step.systems if system.startswith("fastembed")]
    if fastembed and step.kind == "images" and not (checkpoint / "fastembed").exists():
        save_for_fastembed(checkpoint, checkpoint / "fastembed")
    if fastembed and step.kind == "texts" and not (checkpoint / "fastembed-texts").exists():
        save_texts_for_fastembed(checkpoint, checkpoint / "fastembed-texts")
    return checkpoint


def main() -> None:
    """Read the command line, measure, and write the page, the plot and the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, help="folder of JPEGs of about a megapixel; drawn ones by default")
    parser.add_argument("--rounds", type=int, default=3, help="how often each system runs (default: %(default)s)")
    parser.add_argument("--steps", nargs="*", default=list(STEPS), choices=STEPS, help="(default: all)")
    parser.add_argument("--missing", action="store_true", help="measure what the results lack; anew by default")
    parser.add_argument("--report", action="store_true", help="measure nothing, and write the page anew")
    parser.add_argument("--models", type=Path, help="folder where checkpoints and graphs are kept for another run")
    parser.add_argument("--output", type=Path, default=_DOCS, help="(default: %(default)s)")
    options = parser.parse_args()
    results = Results(options.output / "cpu.json")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.models or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        photos = options.images or folder / "photos"
        if not photos.exists():
            draw_pictures(photos)
        for name in [] if options.report else options.steps:
            step = STEPS[name]
            if name not in results or not options.missing:
                results[name] = Part(
                    title=step.title,
                    machine=describe(_PACKAGES),
                    date="",
                    cores=os.cpu_count() or 1,
                    gflop=step.geometry.gflop,
                    batch=step.batch,
                )
            rounds = options.rounds - len(results[name].rounds)
            if rounds > 0:
                scratch = folder / f"step-{name}"
                scratch.mkdir(exist_ok=True)
                checkpoint = save_models(step, folder)
                environment = hold_to_avx2(folder / "held") if step.held else {}
                Measurement(step, checkpoint, photos, scratch, environment).run(results, name, rounds)
    results = Results(results.file)  # as they are stored: rounded
    write_page(options.output / "cpu.md", results)
    write_plot(options.output / "cpu.png", results)
    if options.output == _DOCS:
        quote_everywhere(results)


if __name__ == "__main__":
    main()
