"""A gate that holds loading threads back while the model has the cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

__all__ = ["Gate"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Gate:
    """Open at first; calls of the functions behind it wait while it is closed.

    A model's threads meet after each layer: when one of them has to share its core with a loading thread,
    all the others wait for it. Loading between two batches instead of beside them costs nothing, since the
    cores are busy all the time either way.
    """

    def __init__(self) -> None:
        self._open = Event()
        self._open.set()

    def behind(self, function: Callable[[_Item], _Result]) -> Callable[[_Item], _Result]:
        """Return the function, whose calls begin when the gate is open; those that have begun go on."""

        def wait_and_call(item: _Item) -> _Result:
            self._open.wait()
            return function(item)

        return wait_and_call

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Close the gate for a while."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()
