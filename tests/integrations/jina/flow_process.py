"""A Flow in a process of its own, and a client to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer

from jina import Client

from tests.integrations.ports import free_port

# Seconds until a Flow that hangs is killed, so that its test fails; much more than a busy machine needs.
_LONGEST_LIFE = 900

_SERVE = """
import sys
{program}
with flow:
    print("the Flow is ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def serving(program: str, folder: Path, *, protocol: str = "grpc") -> Iterator[Client]:
    """Run a program that makes a `flow` on `PORT`, and end it, and what it started, afterwards.

    Args:
        program: Python source.
        folder: where its output goes, and where it runs.
        protocol: of the client.
    """
    port = free_port()
    source = f"PORT = {port}\n" + _SERVE.format(program=program)
    log = folder / f"flow-{port}.log"
    with log.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-c", source],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,
            env=os.environ | {"JINA_LOG_LEVEL": "WARNING", "JINA_OPTOUT_TELEMETRY": "1", "HF_HUB_OFFLINE": "1"},
        )
        too_long = Timer(_LONGEST_LIFE, os.killpg, [child.pid, signal.SIGKILL])
        too_long.start()
        try:
            assert child.stdout is not None
            if not any("the Flow is ready" in line for line in child.stdout):
                raise AssertionError(f"the Flow did not start:\n{log.read_text()}")
            yield Client(port=port, protocol=protocol)
        finally:
            too_long.cancel()
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            for pipe in (child.stdin, child.stdout):
                assert pipe is not None
                pipe.close()
