"""Commands that run a function of this package in a Python process of its own, without the application's script."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["command_of"]


def command_of(function: Callable[[], None]) -> list[str] | None:
    """Return the command that calls a function with this process's `sys.path`; None if there is no interpreter.

    Arguments that are added to the command are in `sys.argv[1:]`. Warnings are not shown.

    Args:
        function: Function of a module of this package.
    """
    interpreter = _interpreter()
    module, name = function.__module__, function.__name__
    program = f"import sys; sys.path[:] = {sys.path!r}; from {module} import {name}; {name}()"
    return None if interpreter is None else [interpreter, "-W", "ignore", "-c", program]


def _interpreter() -> str | None:
    # If Python is embedded in another program, such as uWSGI, sys.executable is that program.
    for path in map(Path, (sys.executable or "", f"{sys.prefix}/bin/python3", f"{sys.prefix}/python.exe")):
        if path.name.lower().startswith(("python", "pypy")) and path.is_file() and not getattr(sys, "frozen", False):
            return str(path)
    return None
