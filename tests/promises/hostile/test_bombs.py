"""What one file may cost, however it is made: each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .hostile_files import BOMBS

# Forks a child for each file whose name comes in. A photo first, so that what loading and encoding take anyway is paid.
PROGRAM = """
import json, os, sys, time, zlib
from pathlib import Path
from PIL import Image
from clip_image_encoder import ImageEncoder, ImageError
from clip_image_encoder.testing import ToyBackend

def memory(line):
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index(line) + 1]) / 1000

def seconds(work):
    started = time.process_time()
    work()
    return time.process_time() - started

def yardstick():
    return seconds(lambda: zlib.compress(bytes(20_000_000)))

def measure(file):
    outcome = "a vector"

    def encode():
        nonlocal outcome
        try:
            encoder.encode([file])
        except ImageError as error:
            outcome = type(error).__name__

    Path("/proc/self/clear_refs").write_text("5")
    idle, before = memory("VmRSS:"), yardstick()
    taken = seconds(encode)
    megabytes = memory("VmHWM:") - idle
    return {
        "outcome": outcome, "megabytes": megabytes, "seconds": taken, "yardstick": max(before, yardstick())
    }

encoder = ImageEncoder(backend=ToyBackend(image_size=(224, 224)), num_workers=0)
encoder.encode(Image.effect_noise((640, 480), 50))
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        print(json.dumps(measure(Path(line.strip()))), flush=True)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        print(json.dumps({"outcome": f"status {status}"}), flush=True)
"""

# Seconds that compressing 20 MB takes on a processor of 2024 (EPYC 9005). A slower or busier one may take longer.
YARDSTICK = 0.045

Measure = Callable[[Path], dict[str, Any]]


@pytest.fixture(scope="module")
def measure() -> Iterator[Measure]:
    """What a file costs, measured in a process that encodes nothing else."""
    # A fork would lack the threads of numpy's matrix products.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def ask(file: Path) -> dict[str, Any]:
            assert process.stdin is not None
            assert process.stdout is not None
            print(file, file=process.stdin, flush=True)
            measured: dict[str, Any] = json.loads(process.stdout.readline())
            return measured

        yield ask


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak memory so")
@pytest.mark.parametrize("name", BOMBS)
def test_a_file_costs_less_than_800_megabytes_and_three_seconds(name: str, measure: Measure, tmp_path: Path) -> None:
    make, outcome = BOMBS[name]
    file = tmp_path / "bomb"
    file.write_bytes(make())
    measured = measure(file)
    assert measured["outcome"] == outcome
    assert measured["megabytes"] < 800
    assert measured["seconds"] < 3 * max(1, measured["yardstick"] / YARDSTICK)
