"""Towers in PyTorch, one loaded for each device that is used, which also work in forked processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Generic, TypeVar, cast

from torch import nn

from clip_image_encoder._forks import in_forks
from clip_image_encoder.backends._loaded import Loaded
from clip_image_encoder.backends._torch_compiled import CompiledTower
from clip_image_encoder.backends._torch_context import loading
from clip_image_encoder.backends._torch_devices import let_forks_compute

__all__ = ["Towers"]

_Tower = TypeVar("_Tower", bound=nn.Module)


class Towers(Generic[_Tower]):
    """A tower for each device, loaded when it is first used; several threads may use it at once.

    Args:
        load: Function that loads the tower onto the device of the given name. It must not be a method of the object
            that owns these towers: that would be a reference cycle, freed only by Python's garbage collector.
    """

    def __init__(self, load: Callable[[str], _Tower]) -> None:
        self._load = load
        self._loaded: Loaded[_Tower] = Loaded(in_fork=_not_compiled)
        self._turns = Lock()
        let_forks_compute()
        in_forks(self, Towers._renew)

    def on(self, device: str) -> _Tower:
        """Return the tower on a device, which the first call loads.

        Raises:
            CheckpointError: The weights are missing, damaged or of another model.
            BackendError: The vector of a known input differs from that of float32 on the CPU.
        """

        def load() -> _Tower:
            with loading():
                return self._load(device)

        return self._loaded.of(device, load)

    def turn(self, device: str) -> AbstractContextManager[object]:
        """Return the context in which a thread computes on a device: a lock for Apple's GPU, nothing for other devices.

        Two threads that compute on Apple's GPU at once can crash the process inside torch.
        """
        return self._turns if device.startswith("mps") else nullcontext()

    def _renew(self) -> None:
        self._turns = Lock()


def _not_compiled(tower: _Tower) -> _Tower:
    """Return a tower without its compiled kernels, which use several threads; a forked process can't."""
    return cast("_Tower", tower.plain) if isinstance(tower, CompiledTower) else tower
