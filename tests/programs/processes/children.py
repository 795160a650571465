"""Forks children of this process, and ends those that stand still."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

__all__ = ["fork_children"]

_AT_A_TIME = 3
_PATIENCE = 30.0
"""Seconds without a moment of processor time after which a child is taken to hang, however busy the machine is."""


def fork_children(count: int, work: Callable[[], bool]) -> Counter[str]:
    """Fork children that do some work and end, and return how they ended (Linux).

    Args:
        count: number of children.
        work: called in each child; False is a failure. Every fourth child ends as Python's programs do, with all
            destructors; the others at once, as those of multiprocessing do.
    """
    ends: Counter[str] = Counter()
    seen: dict[int, tuple[int, float]] = {}  # of each child that lives: its processor time, and since when it has it
    started = 0
    while sum(ends.values()) < count:
        while len(seen) < _AT_A_TIME and started < count:
            started += 1
            child = os.fork()
            if child == 0:
                _work_and_end(work, at_once=started % 4 != 0)
            seen[child] = (0, time.monotonic())
        for child in list(seen):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                ends[f"status {os.waitstatus_to_exitcode(status)}"] += 1
                del seen[child]
            elif _ticks(child) > seen[child][0]:
                seen[child] = (_ticks(child), time.monotonic())
            elif time.monotonic() - seen[child][1] > _PATIENCE:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                ends["hung"] += 1
                del seen[child]
        time.sleep(0.01)
    return ends


def _work_and_end(work: Callable[[], bool], *, at_once: bool) -> None:
    status = 0 if work() else 1
    if at_once:
        os._exit(status)
    sys.exit(status)


def _ticks(process: int) -> int:
    """Return the processor time that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
