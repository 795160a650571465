"""Checks of arguments, and the numbers that are used where an argument is None."""

from __future__ import annotations

import math
import os
import reprlib
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from clip_image_encoder.errors import ConfigurationError

__all__ = [
    "available_cores",
    "batch_size_on",
    "check_batch_size",
    "check_count",
    "check_duration",
    "check_each",
    "check_flag",
    "check_load_in",
    "check_num_workers",
    "check_number",
    "check_on_error",
    "check_size",
    "cpu_groups",
    "quota_of",
]

_Number = TypeVar("_Number", int, float)

_LARGEST = sys.float_info.max
_CGROUP = Path("/sys/fs/cgroup")


def check_count(value: int, *, name: str, least: int = 1, most: int | None = None) -> int:
    """Return a value as Python's int, if it is an integer of Python or numpy in a range.

    Args:
        value: Value that the caller passed.
        name: Name of the argument, for the error message.
        least: Smallest value that is allowed, 1 by default.
        most: Largest value that is allowed; None sets no limit.

    Raises:
        ConfigurationError: The value is out of the range, or not an integer; bools and floats are not.

    Example:
        >>> from clip_image_encoder.arguments import check_count
        >>> check_count(0, name="batch_size")
        Traceback (most recent call last):
            ...
        clip_image_encoder.errors.ConfigurationError: batch_size must be a positive integer, not 0
    """
    given = _plain(value)
    if isinstance(given, bool) or not isinstance(given, int) or given < least or (most is not None and given > most):
        kind = "a positive integer" if (least, most) == (1, None) else f"an integer from {least}"
        raise _wrong(value, name=name, kind=kind if most is None else f"{kind} to {most}")
    return given


def check_number(
    value: float, *, name: str, kind: str, above: float = -math.inf, least: float = -_LARGEST, most: float = _LARGEST
) -> float:
    """Return a value as Python's int or float, if it is a number of Python or numpy in a range.

    Args:
        value: Value that the caller passed.
        name: Name of the argument, for the error message.
        kind: Range in words, for the error message, such as "a number from 0".
        above: Lower bound that is not allowed itself; by default there is none.
        least: Smallest value that is allowed; by default the smallest finite float.
        most: Largest value that is allowed; by default the largest finite float.

    Raises:
        ConfigurationError: The value is out of the range, NaN, or not a number; bools are not.

    Example:
        >>> from clip_image_encoder.arguments import check_number
        >>> check_number(0.5, name="num_gpus", kind="a number from 0", least=0)
        0.5
    """
    given = _plain(value)
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not (above < given and least <= given <= most):
        raise _wrong(value, name=name, kind=kind)
    return given


def check_duration(value: float, *, name: str, unit: Literal["seconds", "milliseconds"], may_be_0: bool) -> float:
    """Return a duration, if it is a number of at most a day.

    Args:
        value: Value that the caller passed.
        name: Name of the argument, for the error message.
        unit: Unit of the value.
        may_be_0: Whether 0 is allowed.

    Raises:
        ConfigurationError: The value is not a number, or out of the range.
    """
    day = 86_400 if unit == "seconds" else 86_400_000
    if may_be_0:
        return check_number(value, name=name, kind=f"{unit}, from 0 to a day", least=0, most=day)
    return check_number(value, name=name, kind=f"{unit}, more than 0 and at most a day", above=0, most=day)


def check_each(
    values: Sequence[_Number], check: Callable[..., _Number], *, name: str, parts: Sequence[str]
) -> tuple[_Number, ...]:
    """Return the numbers of a tuple or list as a tuple, each checked.

    Args:
        values: Value that the caller passed.
        check: Function that checks one number, called with the number and its `name`.
        name: Name of the argument, for the error message.
        parts: Names of the numbers, such as `("height", "width")`.

    Raises:
        ConfigurationError: `values` is not a tuple or list of that length, or `check` refuses a number.
    """
    if not isinstance(values, (tuple, list)) or len(values) != len(parts):
        raise _wrong(values, name=name, kind=f"({', '.join(parts)})")
    return tuple(check(value, name=f"{name}: {part}") for part, value in zip(parts, values, strict=True))


def check_flag(value: bool, *, name: str) -> None:
    """Check that a value is True or False.

    Args:
        value: Value that the caller passed.
        name: Name of the argument, for the error message.

    Raises:
        ConfigurationError: The value is not a bool.
    """
    if not isinstance(value, bool):
        raise _wrong(value, name=name, kind="True or False")


def check_size(size: tuple[int, int], *, name: str) -> tuple[int, int]:
    """Return a size, if it is `(height, width)` of positive integers.

    Args:
        size: Value that the caller passed.
        name: Name of the argument, for the error message.

    Raises:
        ConfigurationError: The value is not a tuple or list of two positive integers.
    """
    height, width = check_each(size, check_count, name=name, parts=("height", "width"))
    return height, width


def check_batch_size(batch_size: int | None) -> int | None:
    """Return a batch size, if it is a positive integer or None.

    Args:
        batch_size: Value that the caller passed; None leaves the size to the devices.

    Raises:
        ConfigurationError: The value is neither None nor a positive integer.
    """
    return None if batch_size is None else check_count(batch_size, name="batch_size")


def batch_size_on(devices: Sequence[str], batch_size: int | None) -> int:
    """Return the batch size of a call: the caller's, or 128 if all devices are CUDA's, and 32 otherwise.

    Args:
        devices: Names of the devices that encode the batches.
        batch_size: Value that the caller passed; None leaves the size to the devices.

    Raises:
        ConfigurationError: The batch size is neither None nor a positive integer.
    """
    # An H200 encodes as many images of a ViT-B/32 a second in batches of 128 as in larger ones. For the pixels of those
    # the host gets fresh memory each time, and was a fifth slower.
    default = 128 if all(device.startswith("cuda") for device in devices) else 32
    checked = check_batch_size(batch_size)
    return default if checked is None else checked


def check_num_workers(num_workers: int | None) -> int:
    """Return the number of loading threads, by default one for each available core.

    Args:
        num_workers: Value that the caller passed; None means `available_cores()`.

    Raises:
        ConfigurationError: The value is neither None nor an integer from 0.
    """
    return available_cores() if num_workers is None else check_count(num_workers, name="num_workers", least=0)


def check_load_in(load_in: str, *, num_workers: int) -> None:
    """Check where an encoder loads its images.

    Args:
        load_in: Value that the caller passed.
        num_workers: Number of loading threads, each of which needs a process if `load_in` is "processes".

    Raises:
        ConfigurationError: The value is neither "threads" nor "processes", or there would be no process.
    """
    if load_in not in ("threads", "processes"):
        raise ConfigurationError(f"load_in must be 'threads' or 'processes', not {reprlib.repr(load_in)}")
    if load_in == "processes" and not num_workers:
        raise ConfigurationError("load_in='processes' needs num_workers of at least 1")


def _plain(value: object) -> object:
    """Return a number of numpy as Python's, and anything else as it is."""
    # numpy.timedelta64 is a subclass of numpy.integer.
    if isinstance(value, np.integer) and not isinstance(value, np.timedelta64):
        return int(value)
    return float(value) if isinstance(value, np.floating) else value


def _wrong(value: object, *, name: str, kind: str) -> ConfigurationError:
    # reprlib shortens the value, which may be an array or a text of any length.
    return ConfigurationError(f"{name} must be {kind}, not {reprlib.repr(value)}")


def check_on_error(on_error: str) -> None:
    """Check the argument `on_error` of `encode`.

    Args:
        on_error: Value that the caller passed.

    Raises:
        ConfigurationError: The value is neither "raise" nor "nan".
    """
    if on_error not in ("raise", "nan"):
        raise ConfigurationError(f"on_error must be 'raise' or 'nan', not {reprlib.repr(on_error)}")


def available_cores() -> int:
    """Return the number of cores that this process may use, by its affinity and, in a container, its CPU quota."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on, with PYTHON_CPU_COUNT
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return math.ceil(min(cores, _quota()))


@cache
def _quota() -> float:
    """Return the CPU quota of this process's control group in cores, or infinity."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:  # no Linux
        return math.inf
    return min(map(quota_of, cpu_groups(lines, _CGROUP)), default=math.inf)


def cpu_groups(lines: Iterable[str], root: Path) -> list[Path]:
    """Return the folders of the control groups that limit a process's CPU time (Linux, cgroups(7)).

    Args:
        lines: Lines of `/proc/PID/cgroup`: "0::/kubepods/pod7" with version 2, which has one group for all
            resources; "4:cpu,cpuacct:/docker/1f" with version 1, which has one for each kind of resource.
        root: Folder of all control groups, such as `/sys/fs/cgroup`.
    """
    groups = []
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if not kinds:
            groups.append(root / path.lstrip("/"))
        elif "cpu" in kinds.split(","):
            groups.append(root / "cpu" / path.lstrip("/"))
    return groups


def quota_of(group: Path) -> float:
    """Return the CPU quota of a control group in cores, or infinity: the least of its own and its parents'.

    Args:
        group: Folder of the group.
    """
    quota = math.inf
    for folder in (group, *group.parents):
        with suppress(OSError, ValueError):
            # Version 2: microseconds of CPU time in each period of microseconds: "150000 100000", or "max 100000".
            time, period = (folder / "cpu.max").read_text().split()
            quota = min(quota, math.inf if time == "max" else int(time) / int(period))
        with suppress(OSError, ValueError):
            # Version 1: one file for each of the two numbers; a quota of -1 means no limit.
            time, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
            quota = min(quota, math.inf if int(time) < 0 else int(time) / int(period))
    return quota
