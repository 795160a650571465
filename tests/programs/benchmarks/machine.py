"""What this machine is."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

__all__ = ["describe", "processor"]


def processor() -> str:
    """Return the processor's name, and what it has that matters here (Linux)."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    flags = next(line.split() for line in lines if line.startswith("flags"))
    wanted = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if flag in flags]
    return f"{name} ({', '.join(wanted)})"


def describe(packages: Iterable[str]) -> str:
    """Return the processor, its cores, and the versions of Python and of packages."""
    versions = [f"{name} {version(name)}" for name in packages]
    return f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {', '.join(versions)}"
