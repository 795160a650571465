"""Both runtimes start in threads and export, fit and encode; nothing else happens in the process or outside of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# No main guard: whatever starts this script again says "begun" again.
PROGRAM = """
print("begun")
import logging, multiprocessing, random, sys, threading, warnings
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
import numpy as np
from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.backends import find_backend
from clip_image_encoder.backends._calibration import Calibration
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

images = [draw(scene) for scene in random_scenes(8, seed=0, canvas=(64, 64))]
calibration = Calibration(np.stack([np.asarray(image) for image in images]))
random.seed(20)
warnings.simplefilter("once")

def state():
    return {
        "stdout": sys.stdout is sys.__stdout__,
        "filters": repr(warnings.filters),
        "random": hash(random.getstate()),
        "numpy": str(np.random.get_state()),
        "levels": [logging.getLogger(name).level for name in ("", "nncf", "torch.onnx", "onnxscript")],
    }

def start(name):
    encoder = ImageEncoder("tiny-shapes", backend=name, local_files_only=True)
    load = partial(find_backend(name), calibration=calibration)
    int8 = ImageEncoder("tiny-shapes", backend=load, dtype="int8", device="cpu", local_files_only=True)
    return [int8.encode(images).shape, encoder.encode(images).shape]

before = state()
with ThreadPoolExecutor(2) as pool:
    starts = [pool.submit(start, name) for name in ("onnx", "openvino")]
    lines = 0
    while wait(starts, timeout=0.02).not_done:
        lines += 1
        print("a line of another thread")
shapes = [start.result() for start in starts]
after = state()
ImageEncoder("tiny-shapes", local_files_only=True).encode(images)
TextEncoder("tiny-shapes", local_files_only=True).encode("a red circle")

import json
method = multiprocessing.get_start_method(allow_none=True)
print(json.dumps({"before": before, "after": after, "lines": lines, "shapes": shapes, "method": method}))
"""

# Imported by every Python that starts: notes the hosts that are asked for, and goes on.
WATCH = """
import os, sys

def note(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect") and "/" not in str(arguments):
        with open(os.environ["LOOK_UPS"], "a") as file:
            print(event, arguments, file=file)

sys.addaudithook(note)
"""


@dataclass(frozen=True)
class Start:
    """What a run of the program left.

    Attributes:
        lines: of its standard output.
        errors: its standard error.
        look_ups: hosts that were asked for, and connections.
        files: below HOME, but for the cache.
    """

    lines: list[str]
    errors: str
    look_ups: list[str]
    files: list[Path]

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads(self.lines[-1])
        return report


def strace(calls: Path) -> list[str]:
    """Return a command that notes connections, compiled code's too, which asks without Python; none where it can't."""
    command = ["strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=connect,sendto", "-o", str(calls)]
    if not shutil.which("strace") or subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        return []
    return command


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Start:
    folder = tmp_path_factory.mktemp("start")
    home, look_ups, calls = folder / "home", folder / "look-ups", folder / "calls"
    for name in ("home", "site"):
        (folder / name).mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WATCH)
    (folder / "program.py").write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "HF_", "ORT_"))}
    environment |= {"HOME": str(home), "HF_HOME": str(home / "cache"), "LOOK_UPS": str(look_ups)}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder / "site"), *sys.path])
    command = [*strace(calls), sys.executable, str(folder / "program.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    asked = look_ups.read_text().splitlines() if look_ups.exists() else []
    if calls.exists():
        asked += [line for line in calls.read_text().splitlines() if "sa_family=AF_INET" in line]
    files = [path for path in home.rglob("*") if path.is_file() and (home / "cache") not in path.parents]
    return Start(lines=done.stdout.splitlines(), errors=done.stderr, look_ups=asked, files=files)


def test_both_runtimes_start_at_once(start: Start) -> None:
    assert start.report["shapes"] == [[[8, 64], [8, 64]]] * 2


def test_nobody_is_looked_up(start: Start) -> None:
    assert start.look_ups == []


def test_nothing_is_written_but_into_the_cache(start: Start) -> None:
    assert start.files == []


def test_nothing_is_said(start: Start) -> None:
    # A processor without VNNI computes OpenVINO's int8 in float32, of which the log tells.
    assert [line for line in start.errors.splitlines() if "this processor has no VNNI" not in line] == []


def test_other_threads_lose_no_line_and_the_script_runs_once(start: Start) -> None:
    expected = ["begun", *["a line of another thread"] * start.report["lines"]]
    assert start.lines[:-1] == expected


def test_output_warnings_random_numbers_and_loggers_are_as_before(start: Start) -> None:
    assert start.report["after"] == start.report["before"]


def test_the_application_may_still_choose_its_start_method(start: Start) -> None:
    assert start.report["method"] is None


def test_a_runtime_starts_no_process_that_runs_the_script_again(runtime: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import multiprocessing\n"
        "print('begun')\n"
        "multiprocessing.set_start_method('spawn')\n"
        f"import clip_image_encoder.backends.{runtime}\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("begun\n", "")
