"""Which backends there are, and what each of them is called with."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Protocol

from clip_image_encoder._devices import Devices
from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError, MissingExtraError
from clip_image_encoder.protocols import Backend, TextBackend

__all__ = ["Load", "LoadText", "available_backends", "find_backend", "find_devices", "find_text_backend"]

_PACKAGE = __name__.rpartition(".")[0]


class Load(Protocol):
    """What makes a backend of a checkpoint: the `load` of a backend's file, `TorchBackend`, or a partial of them."""

    def __call__(self, checkpoint: Checkpoint, /, *, pixel_format: PixelFormat, dtype: str, device: Devices) -> Backend:
        """Load a checkpoint's vision tower, ready to run on `device`.

        Args:
            checkpoint: What to load.
            pixel_format: Size of the pixels that will come, and how uint8 pixels are normalized.
            dtype: "auto", or the name of the type to compute in.
            device: Where it will run first; None is the best there is.

        Raises:
            ConfigurationError: The device, the dtype or the size can't be had.
            CheckpointError: The weights are missing, damaged or of another model.
        """
        ...


class LoadText(Protocol):
    """What makes a text backend of a checkpoint: the `load_text` of a backend's file, or a partial of it."""

    def __call__(self, checkpoint: Checkpoint, /, *, dtype: str, device: Devices) -> TextBackend:
        """Load a checkpoint's text tower, ready to run on `device`.

        Args:
            checkpoint: What to load.
            dtype: "auto", or the name of the type to compute in.
            device: Where it will run first; None is the best there is.

        Raises:
            ConfigurationError: The device or the dtype can't be had.
            CheckpointError: The weights are missing, damaged or of another model.
        """
        ...


def available_backends() -> list[str]:
    """Return the names of the backends that are here, sorted."""
    path = importlib.import_module(_PACKAGE).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def find_backend(name: str) -> Load:
    """Return the `load` function of a backend.

    Raises:
        ConfigurationError: There is no backend of that name.
        MissingExtraError: The packages that it needs are not installed.

    Example:
        >>> from clip_image_encoder.backends import find_backend
        >>> load = find_backend("torch")
    """
    load: Load = _module(name).load
    return load


def find_text_backend(name: str) -> LoadText:
    """Return the `load_text` function of a backend.

    Raises:
        ConfigurationError: There is no backend of that name, or it does not run text towers.
        MissingExtraError: The packages that it needs are not installed.
    """
    load: LoadText | None = getattr(_module(name), "load_text", None)
    if load is None:
        raise ConfigurationError(f"backend {name!r} runs no text towers; use backend='torch' for texts")
    return load


def find_devices(name: str) -> tuple[str, ...]:
    """Return the names of the devices that a backend can run on here, the best first; nothing is loaded on them.

    Raises:
        ConfigurationError: There is no backend of that name, or it doesn't say.
        MissingExtraError: The packages that it needs are not installed.

    Example:
        >>> from clip_image_encoder.backends import find_devices
        >>> "cpu" in find_devices("torch")
        True
    """
    devices: Callable[[], Sequence[str]] | None = getattr(_module(name), "devices", None)
    if devices is None:
        raise ConfigurationError(f"backend {name!r} doesn't say which devices it runs on")
    return tuple(devices())


def _module(name: str) -> ModuleType:
    if name not in available_backends():
        raise ConfigurationError(f"no backend {name!r}; there are {', '.join(map(repr, available_backends()))}")
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"backend {name!r} needs {error.name}: python -m pip install 'clip-image-encoder[{name}]'"
        ) from error
