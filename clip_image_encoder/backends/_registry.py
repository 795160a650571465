"""Which backends there are, and what each of them is called with."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from clip_image_encoder._devices import Devices
from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError, MissingExtraError
from clip_image_encoder.protocols import Backend, TextBackend

if TYPE_CHECKING:
    from clip_image_encoder.backends._graph_runs import Runtime

__all__ = [
    "Load",
    "LoadText",
    "available_backends",
    "find_backend",
    "find_devices",
    "find_runtime",
    "find_text_backend",
    "load_of",
    "load_text_of",
]

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


def find_runtime(name: str) -> Callable[..., Runtime]:
    """Return the class of a runtime of graphs, by the name of its backend; it is made with its dtype.

    Raises:
        ConfigurationError: There is no such backend, or it runs no graphs.
        MissingExtraError: The packages that it needs are not installed.
    """
    runtime: Callable[..., Runtime] | None = getattr(_module(name), "RUNTIME", None)
    if runtime is None:
        raise ConfigurationError(f"backend {name!r} runs no exported graphs")
    return runtime


def load_of(backend: str | Load | None, checkpoint: Checkpoint) -> Load:
    """Return what loads a checkpoint's vision tower.

    Args:
        backend: What was named or given; None is an exported folder's own runtime, or torch.
        checkpoint: The checkpoint.

    Raises:
        ConfigurationError: There is no backend of that name.
        MissingExtraError: The packages that it needs are not installed.
    """
    if backend is None and checkpoint.runtime:
        from clip_image_encoder.backends._exported import ExportedBackend

        return ExportedBackend
    return find_backend(backend or "torch") if backend is None or isinstance(backend, str) else backend


def load_text_of(backend: str | LoadText | None, checkpoint: Checkpoint) -> LoadText:
    """Return what loads a checkpoint's text tower, as `load_of` does for vision towers.

    Raises:
        ConfigurationError: There is no backend of that name, or it does not run text towers.
        MissingExtraError: The packages that it needs are not installed.
    """
    if backend is None and checkpoint.runtime:
        from clip_image_encoder.backends._exported import ExportedTextBackend

        return ExportedTextBackend
    return find_text_backend(backend or "torch") if backend is None or isinstance(backend, str) else backend


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
        # torch is a requirement, which who runs exported folders may do without.
        what = "torch transformers safetensors" if name == "torch" else f"'clip-image-encoder[{name}]'"
        raise MissingExtraError(f"backend {name!r} needs {error.name}: python -m pip install {what}") from error
