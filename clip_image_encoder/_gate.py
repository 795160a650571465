"""Gate: lets loading threads wait while the model computes on the same cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event
from typing import TypeVar

__all__ = ["Gate"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Gate:
    """Guards functions: their calls wait while the gate is closed. It is open at first.

    The threads of a model on the CPU wait for each other after each layer. If one of them shares its core with a
    loading thread, all others wait for it. Loading between two batches, not during a batch, loses no time, since all
    cores are busy either way.
    """

    def __init__(self) -> None:
        self._open = Event()
        self._open.set()

    def guard(self, function: Callable[[_Item], _Result]) -> Callable[[_Item], _Result]:
        """Return a function that waits until the gate is open, then calls the given one; a call that runs goes on."""

        def wait_and_call(item: _Item) -> _Result:
            self._open.wait()
            return function(item)

        return wait_and_call

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Keep the gate closed until the block ends."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()
