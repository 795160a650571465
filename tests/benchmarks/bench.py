"""Files to vectors, every system in one run, in turn: `nox -s bench [-- --images FOLDER --rounds 5 --output FOLDER]`.

Each measurement is a process of its own, so that nobody's threads, caches or allocators help or hinder another.
Reports medians over the rounds, and ratios within this run; absolute times mean little on a shared machine.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch

from tests.benchmarks.checkpoint import VIT_B_32, draw_pictures, save_checkpoint, save_for_fastembed
from tests.benchmarks.report import write_plot, write_table
from tests.benchmarks.systems import EXACT, SYSTEMS

Figures: TypeAlias = dict[str, float]

_PACKAGES = ("torch", "transformers", "sentence-transformers", "fastembed", "onnxruntime", "openvino", "pillow")


def processor() -> str:
    """Return the processor's name, and what it has that matters here (Linux)."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    flags = next(line.split() for line in lines if line.startswith("flags"))
    wanted = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name} ({', '.join(wanted)})"


def matrix_limit(dtype: torch.dtype) -> float:
    """Return how many GFLOP/s of matrix products this machine reaches now, by oneDNN, at the tower's sizes."""
    with torch.inference_mode():
        tokens, weights = torch.randn(1600, 768, dtype=dtype), torch.randn(3072, 768, dtype=dtype)
        packed = torch.ops.mkldnn._reorder_linear_weight(weights, len(tokens))
        times = []
        for _ in range(60):
            begun = time.perf_counter()
            torch.ops.mkldnn._linear_pointwise(tokens, packed, None, "none", [], "")
            times.append(time.perf_counter() - begun)
    return 2 * 1600 * 768 * 3072 / statistics.median(times) / 1e9


def measure(name: str, checkpoint: Path, images: Path, vectors: Path) -> Figures:
    """Run one system once."""
    arguments = [name, str(checkpoint), str(images), str(vectors)]
    command = [sys.executable, "-m", "tests.benchmarks.worker", *arguments]
    # A cache of its own: the first start of each is a cold one.
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(vectors.with_suffix(".cache"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def medians(rounds: list[Figures]) -> Figures:
    """Return the median of each figure; the first round's start is a cold one, and is kept apart."""
    summary = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
    summary["first_vector_cold"] = rounds[0]["first_vector"]
    summary["first_vector"] = statistics.median([each["first_vector"] for each in rounds[1:] or rounds])
    return summary


def main() -> None:
    """Read the command line, measure, and write the table and the plot."""
    parser = argparse.ArgumentParser(description="Compare image encoders on this machine.")
    parser.add_argument("--images", type=Path, help="folder of photos; drawn pictures by default")
    parser.add_argument("--rounds", type=int, default=3, help="how often each system runs (default: %(default)s)")
    parser.add_argument("--only", nargs="*", default=list(SYSTEMS), help="names of systems, as in systems.py")
    parser.add_argument("--output", type=Path, default=Path("docs/benchmarks"), help="default: %(default)s")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint, images = Path(temporary) / "vit-b-32", options.images or Path(temporary) / "images"
        save_checkpoint(checkpoint)
        save_for_fastembed(checkpoint, checkpoint / "fastembed")
        if not options.images:
            draw_pictures(images)
        figures: defaultdict[str, list[Figures]] = defaultdict(list)
        limits: defaultdict[str, list[float]] = defaultdict(list)
        for number in range(options.rounds):
            limits["float32"].append(matrix_limit(torch.float32))
            limits["bfloat16"].append(matrix_limit(torch.bfloat16))
            for name in dict.fromkeys([*options.only, EXACT]):
                figures[name].append(measure(name, checkpoint, images, Path(temporary) / f"{name}.npy"))
                print(number, name, {key: round(value, 3) for key, value in figures[name][-1].items()}, flush=True)
        exact = np.load(Path(temporary) / f"{EXACT}.npy")
        summary = {name: medians(rounds) for name, rounds in figures.items()}
        for name in summary:
            cosines = (np.load(Path(temporary) / f"{name}.npy") * exact).sum(axis=1)
            summary[name] |= {"cosine": float(cosines.min())}
    versions = [f"{name} {version(name)}" for name in _PACKAGES]
    machine = f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {', '.join(versions)}"
    options.output.mkdir(parents=True, exist_ok=True)
    write_table(
        options.output / "cpu.md",
        summary,
        limits={dtype: statistics.median(values) for dtype, values in limits.items()},
        gflop_an_image=VIT_B_32.gflop,
        machine=machine,
        cores=os.cpu_count() or 1,
    )
    write_plot(options.output / "cpu.png", summary)


if __name__ == "__main__":
    main()
