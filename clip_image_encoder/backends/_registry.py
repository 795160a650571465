"""The registry of backends: it finds them by the names of their files, and defines the signatures of their `load`."""

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
]

_PACKAGE = __name__.rpartition(".")[0]


class Load(Protocol):
    """A function that loads a checkpoint's vision tower: the `load` of a backend, `TorchBackend`, or their partials."""

    def __call__(self, checkpoint: Checkpoint, /, *, pixel_format: PixelFormat, dtype: str, device: Devices) -> Backend:
        """Load a checkpoint's vision tower onto a device.

        Args:
            checkpoint: Checkpoint whose vision tower is loaded.
            pixel_format: Size of the pixels that the backend will be given, and how it normalizes uint8 pixels.
            dtype: Name of the dtype to compute in, such as "float32"; "auto" lets the backend choose.
            device: Name of the device, or list of names, of which the first gets the tower now; None means the
                backend's best device.

        Raises:
            ConfigurationError: The device is not there, or the dtype or the size is not supported.
            CheckpointError: The weights are missing, damaged or of another model.
        """
        ...


class LoadText(Protocol):
    """A function that loads a checkpoint's text tower: the `load_text` of a backend, or a partial of it."""

    def __call__(self, checkpoint: Checkpoint, /, *, dtype: str, device: Devices) -> TextBackend:
        """Load a checkpoint's text tower onto a device.

        Args:
            checkpoint: Checkpoint whose text tower is loaded.
            dtype: Name of the dtype to compute in, such as "float32"; "auto" lets the backend choose.
            device: Name of the device, or list of names, of which the first gets the tower now; None means the
                backend's best device.

        Raises:
            ConfigurationError: The device is not there, or the dtype is not supported.
            CheckpointError: The weights are missing, damaged or of another model.
        """
        ...


def available_backends() -> list[str]:
    """Return the names of the backends of this package, sorted, whether or not their runtimes are installed."""
    path = importlib.import_module(_PACKAGE).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def find_backend(name: str) -> Load:
    """Return the function that loads vision towers into a backend.

    Args:
        name: Name of the backend, one of `available_backends`.

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
    """Return the function that loads text towers into a backend.

    Args:
        name: Name of the backend, one of `available_backends`.

    Raises:
        ConfigurationError: There is no backend of that name, or it does not run text towers.
        MissingExtraError: The packages that it needs are not installed.
    """
    load: LoadText | None = getattr(_module(name), "load_text", None)
    if load is None:
        raise ConfigurationError(f"backend {name!r} runs no text towers; use backend='torch' for texts")
    return load


def find_runtime(name: str) -> Callable[..., Runtime]:
    """Return the class of the runtime in which a backend runs graphs; it takes `dtype`.

    Args:
        name: Name of the backend, such as "onnx".

    Raises:
        ConfigurationError: There is no backend of that name, or it runs no graphs.
        MissingExtraError: The packages that it needs are not installed.
    """
    runtime: Callable[..., Runtime] | None = getattr(_module(name), "RUNTIME", None)
    if runtime is None:
        raise ConfigurationError(f"backend {name!r} runs no exported graphs; use 'onnx' or 'openvino'")
    return runtime


def find_devices(name: str) -> tuple[str, ...]:
    """Return the names of the devices that a backend can run on here, the best first; no model is loaded.

    Args:
        name: Name of the backend, one of `available_backends`.

    Raises:
        ConfigurationError: There is no backend of that name, or its file has no function `devices`.
        MissingExtraError: The packages that it needs are not installed.

    Example:
        >>> from clip_image_encoder.backends import find_devices
        >>> "cpu" in find_devices("torch")
        True
    """
    devices: Callable[[], Sequence[str]] | None = getattr(_module(name), "devices", None)
    if devices is None:
        raise ConfigurationError(f"backend {name!r} has no function devices() that names its devices; add one")
    return tuple(devices())


def _module(name: str) -> ModuleType:
    if name not in available_backends():
        raise ConfigurationError(f"no backend {name!r}; there are {', '.join(map(repr, available_backends()))}")
    try:
        return importlib.import_module(f"{_PACKAGE}.{name}")
    except ModuleNotFoundError as error:
        # torch is a requirement of this package; only an install for exported folders may lack it (pip --no-deps).
        what = "torch transformers safetensors" if name == "torch" else f"'clip-image-encoder[{name}]'"
        raise MissingExtraError(f"backend {name!r} needs {error.name}: python -m pip install {what}") from error
