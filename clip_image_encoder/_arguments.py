"""The numbers that a call is given, checked, and what they are by default."""

from __future__ import annotations

import math
import os
import reprlib
from functools import cache
from pathlib import Path

import numpy as np

from clip_image_encoder.errors import ConfigurationError

__all__ = [
    "available_cores",
    "check_batch_size",
    "check_count",
    "check_milliseconds",
    "check_num_workers",
    "check_on_error",
    "quota_of",
]

_DAY = 24 * 60 * 60 * 1000
_CGROUP = Path("/sys/fs/cgroup")


def check_count(value: int, *, name: str, least: int = 1) -> int:
    """Return a number of things, as Python's int: integers of Python and numpy are taken, and nothing else.

    Args:
        value: what was given.
        name: of the argument that it was given as.
        least: the smallest number that the argument may be.

    Raises:
        ConfigurationError: it is a float, a bool, a text or something else, or less than `least`.
    """
    given: object = value
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < least:
        kind = "a positive integer" if least == 1 else f"an integer from {least}"
        # Short: what was given may be an array or a text of any length.
        raise ConfigurationError(f"{name} must be {kind}, not {reprlib.repr(given)}")
    return int(given)


def check_batch_size(batch_size: int) -> int:
    """Return the batch size, if it is a positive integer.

    Raises:
        ConfigurationError: it is not.
    """
    return check_count(batch_size, name="batch_size")


def check_num_workers(num_workers: int | None) -> int:
    """Return the number of loading threads: the one asked for, or one for each core.

    Raises:
        ConfigurationError: it is neither None nor an integer from 0.
    """
    return available_cores() if num_workers is None else check_count(num_workers, name="num_workers", least=0)


def check_milliseconds(value: float, *, name: str) -> float:
    """Return a time to wait, in milliseconds, if it is a number from 0 to those of a day.

    Raises:
        ConfigurationError: it is not.
    """
    given: object = value
    numbers = (int, float, np.integer, np.floating)
    if isinstance(given, bool) or not isinstance(given, numbers) or not 0 <= given <= _DAY:
        raise ConfigurationError(f"{name} must be milliseconds, from 0 to a day, not {reprlib.repr(given)}")
    return float(given)


def check_on_error(on_error: str) -> None:
    """Check what `encode` is to do at a bad image.

    Raises:
        ConfigurationError: it is neither "raise" nor "nan".
    """
    if on_error not in ("raise", "nan"):
        raise ConfigurationError(f"on_error must be 'raise' or 'nan', not {reprlib.repr(on_error)}")


def available_cores() -> int:
    """Return how many cores this process may use: by its affinity and, in a container, by its quota of time."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on, with PYTHON_CPU_COUNT
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return math.ceil(min(cores, _quota()))


@cache
def _quota() -> float:
    """Return how many cores' time this process's control group has, or infinity."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return math.inf
    # Version 2 has one line for all controllers: "0::/kubepods.slice/pod7".
    paths = [line.removeprefix("0::/") for line in lines if line.startswith("0::/")]
    return quota_of(_CGROUP / paths[0]) if paths else math.inf


def quota_of(group: Path) -> float:
    """Return how many cores' time a control group of version 2 has, or infinity: the least of its own and all above.

    Args:
        group: the group's folder, in a container often the one that all groups lie in.
    """
    quota = math.inf
    for folder in (group, *group.parents):
        try:
            # Microseconds of time in a period of so many: "150000 100000", or "max 100000".
            time, period = (folder / "cpu.max").read_text().split()
        except (OSError, ValueError):
            continue
        if time != "max":
            quota = min(quota, int(time) / int(period))
    return quota
