"""A server in a process of its own, as the command line starts it."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile

import httpx


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs.

    Attributes:
        address: where it listens.
        process: its process.
        log: what it has printed.
    """

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def metric(self, name: str) -> float:
        """Return a value that Prometheus would read; 0 if it is not there."""
        found = re.findall(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{self.address}/metrics").text, re.MULTILINE)
        return float(found[0]) if found else 0.0


LIMITS = ("--max-body", "1000000", "--max-waiting", "256")


@contextmanager
def serving(*options: str) -> Iterator[Server]:
    """Serve tiny-shapes at a free port; at the end the process is gone."""
    command = [sys.executable, "-W", "ignore", "-m", "clip_image_encoder", "serve", "tiny-shapes", "--port", "0"]
    with NamedTemporaryFile() as file:
        log = Path(file.name)
        process = subprocess.Popen([*command, *options], stderr=file)
        try:
            while not (found := re.search(r"running on (http://\S+)", log.read_text("utf-8"))):
                assert process.poll() is None, f"the server has ended: {log.read_text('utf-8')}"
                time.sleep(0.05)
            yield Server(address=found[1], process=process, log=log)
        finally:
            process.kill()
            process.wait()
