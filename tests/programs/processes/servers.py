"""Servers with two worker processes, and scripts without a main guard: `python -m tests.programs.processes.servers`.

Each server answers some requests at a time, is asked to end, and must end with status 0.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlopen

_REQUESTS = 40
_CALLERS = 4
_PATIENCE = 120.0
"""Seconds for a start, an answer or an end."""

_SCRIPT = """
import multiprocessing
multiprocessing.set_start_method({method!r})
from PIL import Image
from clip_image_encoder import ImageEncoder
print(ImageEncoder("tiny-shapes", backend={backend!r}).encode(Image.new("RGB", (64, 64), "red")).shape)
"""


def main() -> None:
    """Try them one after the other."""
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, ask in (("gunicorn --preload", ask_gunicorn), ("uvicorn", ask_uvicorn), ("celery", ask_celery)):
            failures += not tell(name, partial(ask, Path(folder)))
        for backend in ("torch", "onnx", "openvino"):
            for method in ("spawn", "forkserver"):
                run = partial(run_without_guard, backend, method, Path(folder))
                failures += not tell(f"{method} without main guard, {backend}", run)
    if failures:
        raise SystemExit(1)


def tell(name: str, check: Callable[[], str]) -> bool:
    """Print what came out of a check, and return whether it went well."""
    start = time.monotonic()
    try:
        outcome, well = check(), True
    except (AssertionError, OSError, subprocess.TimeoutExpired, TimeoutError) as error:
        outcome, well = f"FAILED: {type(error).__name__}: {error}", False
    print(f"{name}: {outcome}; {time.monotonic() - start:.0f} s", flush=True)
    return well


def ask_gunicorn(folder: Path) -> str:
    """Two processes that are forked after the encoders were made."""
    port = free_port()
    command = ["gunicorn", "--preload", "--workers=2", f"--bind=127.0.0.1:{port}", "tests.programs.processes.apps:wsgi"]
    with running(command, folder):
        return ask_all(lambda: fetch(port))


def ask_uvicorn(folder: Path) -> str:
    """Two processes that are spawned, and make their own encoders."""
    port = free_port()
    command = ["uvicorn", "--workers=2", f"--port={port}", "--lifespan=off", "tests.programs.processes.apps:asgi"]
    with running(command, folder):
        return ask_all(lambda: fetch(port))


def ask_celery(folder: Path) -> str:
    """Two processes that are forked after the encoders were made, by celery's own multiprocessing."""
    from celery import Celery

    command = ["celery", "--app=tests.programs.processes.apps:tasks", "worker", "--pool=prefork", "--concurrency=2"]
    with running(command, folder) as environment:
        client = Celery(broker="filesystem://", backend=f"file://{environment['RESULTS']}")
        options = dict.fromkeys(("data_folder_in", "data_folder_out", "control_folder"), environment["QUEUE"])
        client.conf.update(broker_transport_options=options)
        return ask_all(lambda: client.send_task("answer").get(timeout=_PATIENCE))


def run_without_guard(backend: str, method: str, folder: Path) -> str:
    """A script that would run twice if the library started a process."""
    script = folder / "script.py"
    script.write_text(_SCRIPT.format(method=method, backend=backend), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script], capture_output=True, text=True, timeout=_PATIENCE, check=False
    )
    assert done.returncode == 0, f"it ended with status {done.returncode}: {done.stderr[-300:]}"
    assert done.stdout == "(64,)\n", f"it printed {done.stdout!r}"
    return "ran once, status 0"


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[dict[str, str]]:
    """Run a server, and let it end."""
    places = {name: tempfile.mkdtemp(dir=folder) for name in ("QUEUE", "RESULTS")}
    environment = os.environ | places | {"PYTHONWARNINGS": "ignore"}
    log = folder / "log"
    with log.open("w", encoding="utf-8") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield environment
        server.send_signal(signal.SIGTERM)
        status = server.wait(_PATIENCE)
        assert status == 0, f"it ended with status {status}: {log.read_text('utf-8')[-300:]}"
        ends = time.monotonic() + _PATIENCE
        while alive(server.pid) and time.monotonic() < ends:
            time.sleep(0.1)
        assert not alive(server.pid), "a process of it lives on"
    finally:
        if alive(server.pid):
            os.killpg(server.pid, signal.SIGKILL)


def alive(group: int) -> bool:
    """Return whether a process of a group is there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def ask_all(ask: Callable[[], dict[str, Any]]) -> str:
    """Ask a few times at once, until both workers have answered, and compare the answers."""
    with ThreadPoolExecutor(_CALLERS) as callers:
        answers = list(callers.map(lambda _: ask(), range(_REQUESTS)))
    processes = {answer["process"] for answer in answers}
    sums = [answer["sum"] for answer in answers]
    assert max(sums) - min(sums) < 1e-3, f"the answers differ: {min(sums)} to {max(sums)}"
    return f"{len(answers)} answers of {len(processes)} processes, status 0"


def fetch(port: int) -> dict[str, Any]:
    """Return a server's answer, as soon as it has started."""
    ends = time.monotonic() + _PATIENCE
    while not listens(port) and time.monotonic() < ends:
        time.sleep(0.2)
    with urlopen(f"http://127.0.0.1:{port}", timeout=_PATIENCE) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def listens(port: int) -> bool:
    """Return whether somebody listens to a port."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """Return a port that nobody listens to."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
