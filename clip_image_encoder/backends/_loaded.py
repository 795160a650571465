"""A thread-safe dictionary of loaded objects, such as one tower for each device, that also works after a fork."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from clip_image_encoder._forks import in_forks, never_destroy

__all__ = ["Loaded"]

_Value = TypeVar("_Value")


class Loaded(Generic[_Value]):
    """Values that are loaded when they are first used, each once; several threads may ask for them at once.

    Args:
        in_fork: Function that returns a value's replacement in a forked process; None means that a forked process
            loads all values again.
    """

    def __init__(self, *, in_fork: Callable[[_Value], _Value] | None = None) -> None:
        self._in_fork = in_fork
        self._values: dict[str, _Value] = {}
        self._lock = Lock()
        in_forks(self, Loaded._renew)

    def of(self, key: str, load: Callable[[], _Value]) -> _Value:
        """Return the value of a key, which the first call loads.

        Args:
            key: Key of the value, such as the name of a device.
            load: Function that loads the value; if it raises an exception, the next call loads again.
        """
        with self._lock:
            if key not in self._values:
                self._values[key] = load()
            return self._values[key]

    def _renew(self) -> None:
        self._lock = Lock()
        if self._in_fork is not None:
            self._values = {key: self._in_fork(value) for key, value in self._values.items()}
            return
        # A runtime computes on threads of its own, which a forked process does not have. The destructors of loaded
        # graphs wait for these threads, and would hang.
        never_destroy(self._values)
        self._values = {}
