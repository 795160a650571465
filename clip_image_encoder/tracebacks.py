"""What an error keeps alive, and how it lets go of it."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["without_tracebacks"]

_Error = TypeVar("_Error", bound=Exception)


def without_tracebacks(error: _Error) -> _Error:
    """Return the error, with the tracebacks of it and of its causes taken off: their frames hold the inputs."""
    cause: BaseException | None = error
    while cause is not None:
        cause.__traceback__ = None
        cause = cause.__cause__ or cause.__context__
    return error
