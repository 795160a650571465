"""Parts of error messages, and errors without the tracebacks that keep inputs in memory."""

from __future__ import annotations

import re
from typing import TypeVar

__all__ = ["first_line", "in_one_line", "missing_package", "without_tracebacks"]

_Error = TypeVar("_Error", bound=Exception)


def without_tracebacks(error: _Error) -> _Error:
    """Remove the tracebacks of an error and of its causes, whose frames keep inputs in memory, and return the error.

    Args:
        error: Error to change.

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
    r"""Return the first line of an error's message, or the name of its class if the message is empty.

    Args:
        error: Any error.

    Example:
        >>> first_line(OSError("the disk is full\nsee the log"))
        'the disk is full'
    """
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def in_one_line(error: BaseException) -> str:
    r"""Return the name of an error's class and the first line of its message.

    Args:
        error: Any error.

    Example:
        >>> in_one_line(OSError("the disk is full\nsee the log"))
        'OSError: the disk is full'
    """
    return f"{type(error).__name__}: {first_line(error)}"


def missing_package(error: ImportError) -> str | None:
    """Return the name of the package that an import lacks, from transformers' message or Python's, or None.

    Args:
        error: Error of the import.

    Example:
        >>> missing_package(ImportError("DinatModel requires the natten library but it was not found"))
        'natten'
    """
    found = re.search(r"requires the ([\w.-]+) library", str(error))
    return found[1].lower() if found else error.name
