"""A server in a process of its own, as the command line starts it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that runs.

    Attributes:
        address: where it listens.
        process: its process.
    """

    address: str
    process: subprocess.Popen[str]

    def metric(self, name: str) -> float:
        """Return a value that Prometheus would read; 0 if it is not there."""
        found = re.findall(rf"^{re.escape(name)} (\S+)$", httpx.get(f"{self.address}/metrics").text, re.MULTILINE)
        return float(found[0]) if found else 0.0

    def stop(self) -> int:
        """Ask it to end, and return its status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(*options: str) -> Iterator[Server]:
    """Serve tiny-shapes at a free port; at the end the process is gone."""
    command = [sys.executable, "-W", "ignore", "-m", "clip_image_encoder", "serve", "tiny-shapes", "--port", "0"]
    process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"running on (http://\S+)", line):
                break
        else:
            raise AssertionError(f"the server has ended: {''.join(lines)}")
        yield Server(address=found[1], process=process)
    finally:
        process.kill()
        process.communicate()
