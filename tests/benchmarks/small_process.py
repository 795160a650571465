"""Environments of `bench_small`: what is in them, and a process that works on jobs in one."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

__all__ = ["Figures", "Job", "Worker", "packages", "size", "versions"]

_WORKER = Path(__file__).with_name("small_worker.py")

Job: TypeAlias = dict[str, Any]
Figures: TypeAlias = dict[str, float]


class Worker:
    """One system in a process of its own, which works on jobs."""

    def __init__(self, python: Path, system: str, folder: Path) -> None:
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed below
        self._process = subprocess.Popen(
            [python, "-I", "-W", "ignore", _WORKER, system, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1"},
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


def packages(python: Path) -> Path:
    """Return the folder of an environment's packages."""
    return next(python.parent.parent.glob("lib/python*/site-packages"))


def size(folder: Path) -> float:
    """Return the megabytes of the files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink()) / 1e6


def versions(python: Path) -> str:
    """Return the versions of an environment's packages."""
    names = ("onnxruntime", "openvino", "fastembed", "sentence_transformers", "torch", "pillow", "tokenizers")
    found = {file.name.split("-")[0]: file.name.split("-")[1] for file in packages(python).glob("*-*.dist-info")}
    return ", ".join(f"{name} {found[name].removesuffix('.dist')}" for name in names if name in found)
