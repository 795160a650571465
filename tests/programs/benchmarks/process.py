"""A process that works on jobs: a line of JSON for each, and one for its answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, TypeAlias

__all__ = ["Figures", "Job", "Worker", "answer_jobs"]

Job: TypeAlias = dict[str, Any]
Figures: TypeAlias = dict[str, float]


class Worker:
    """A process that answers jobs with figures.

    Args:
        command: What to run, with its arguments.
        environment: Variables beside those of this process.
    """

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str] = MappingProxyType({})) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed below
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def work(self, job: Job) -> Figures:
        """Return the figures of one job."""
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps(job), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise SystemExit(f"{self._process.args!r} failed:\n{self._errors.read()}")
        answer: Figures = json.loads(line)
        return answer


def answer_jobs(work: Callable[[Job], Figures]) -> None:
    """Be such a process: answer the jobs of the input until it ends."""
    # What a library prints goes to the errors, and not among the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), file=answers, flush=True)
