"""What a backend has loaded, once for each device that is used."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from clip_image_encoder._forks import in_forks, never_destroy

__all__ = ["Loaded"]

_Value = TypeVar("_Value")


class Loaded(Generic[_Value]):
    """Values that are loaded when they are first asked for; several threads may ask at a time.

    Args:
        in_fork: Returns what a forked process has in the place of a value; None lets it load all of them anew.
    """

    def __init__(self, *, in_fork: Callable[[_Value], _Value] | None = None) -> None:
        self._in_fork = in_fork
        self._values: dict[str, _Value] = {}
        self._lock = Lock()
        in_forks(self, Loaded._renew)

    def of(self, key: str, load: Callable[[], _Value]) -> _Value:
        """Return the value of a key, after loading it if it isn't there.

        Args:
            key: Such as the name of a device.
            load: Returns the value; what it raises is raised here, and the next call tries again.
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
        # A runtime computes on threads of its own, which a forked process does not have, and which the destructors of
        # what is loaded wait for.
        never_destroy(self._values)
        self._values = {}
