"""What is told of an error, and what is not kept of it."""

from __future__ import annotations

import re
from typing import TypeVar

__all__ = ["first_line", "missing_package", "without_tracebacks"]

_Error = TypeVar("_Error", bound=Exception)


def without_tracebacks(error: _Error) -> _Error:
    """Return an error whose traceback, and those of its causes, are taken off: their frames hold the inputs.

    Example:
        >>> try:
        ...     raise ValueError("the backend returned nothing")
        ... except ValueError as error:
        ...     print(without_tracebacks(error).__traceback__)
        None
    """
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    return error


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message, or the name of its class if it has none.

    Example:
        >>> first_line(OSError("the disk is full\nsee the log"))
        'the disk is full'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def missing_package(error: ImportError) -> str | None:
    """Return the name of the package that an import lacked, in transformers' words or in Python's, or None.

    Example:
        >>> missing_package(ImportError("DinatModel requires the natten library but it was not found"))
        'natten'
    """
    found = re.search(r"requires the ([\w.-]+) library", str(error))
    return found[1].lower() if found else error.name
