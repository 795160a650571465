"""Torch's towers on the devices that are used: each loaded once, and made fit for forked processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Generic, TypeVar, cast

from torch import nn

from clip_image_encoder._forks import in_forks
from clip_image_encoder.backends._loaded import Loaded
from clip_image_encoder.backends._torch_context import loading
from clip_image_encoder.backends._torch_devices import let_forks_compute

__all__ = ["Towers"]

_Tower = TypeVar("_Tower", bound=nn.Module)


class Towers(Generic[_Tower]):
    """A tower on each device, loaded when it is first asked for; several threads may ask at a time.

    Args:
        load: Returns a tower on the device of that name; not a method of the owner, which would then stay in memory
            until Python's garbage collector comes by.
    """

    def __init__(self, load: Callable[[str], _Tower]) -> None:
        self._load = load
        self._loaded: Loaded[_Tower] = Loaded(in_fork=_not_compiled)
        self._turns = Lock()
        let_forks_compute()
        in_forks(self, Towers._renew)

    def on(self, device: str) -> _Tower:
        """Return the tower on a device.

        Raises:
            CheckpointError: The weights are missing, damaged or of another model.
            BackendError: It gives another vector of a known input than float32 on the CPU.
        """

        def load() -> _Tower:
            with loading():
                return self._load(device)

        return self._loaded.of(device, load)

    def turn(self, device: str) -> AbstractContextManager[object]:
        """Return what one thread at a time is in while it computes on a device.

        Two threads that compute on Apple's GPU at once can end the process, in torch's own code; other devices let
        any number in.
        """
        return self._turns if device.startswith("mps") else nullcontext()

    def _renew(self) -> None:
        self._turns = Lock()


def _not_compiled(tower: _Tower) -> _Tower:
    """Return a tower without the kernels that were compiled for several threads."""
    return cast("_Tower", getattr(tower, "_orig_mod", tower))
