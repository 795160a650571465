"""What runs the vision tower: one file a runtime, and the folder is the registry.

`ImageEncoder(backend="torch")` imports `backends/torch.py` and calls its `load`. To add a runtime,
add a file with a function of the same signature; nothing else has to know. Files whose name starts
with an underscore are parts, not backends.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol

from clip_image_encoder._devices import Devices
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError, MissingExtraError
from clip_image_encoder.protocols import Backend

__all__ = ["Load", "available_backends", "find_backend"]


class Load(Protocol):
    """The `load` function of a backend's file."""

    def __call__(
        self,
        checkpoint: Checkpoint,
        /,
        *,
        image_size: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        dtype: str,
        device: Devices,
    ) -> Backend:
        """Load a checkpoint's vision tower, ready to run on `device`.

        Args:
            checkpoint: what to load.
            image_size: `(height, width)` of the pixels that will come.
            mean: to subtract from uint8 pixels, scaled to 0..1.
            std: to divide them by.
            dtype: "auto", or the name of the type to compute in.
            device: where it will run first; None is the best there is.

        Raises:
            ConfigurationError: the device, the dtype or the size can't be had.
            CheckpointError: the weights are missing, damaged or of another model.
        """
        ...


def available_backends() -> list[str]:
    """Return the names of the backends that are here, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))


def find_backend(name: str) -> Load:
    """Return the `load` function of a backend.

    Raises:
        ConfigurationError: there is no backend of that name.
        MissingExtraError: the packages it needs are not installed.

    Example:
        >>> from clip_image_encoder.backends import find_backend
        >>> load = find_backend("torch")
    """
    if name not in available_backends():
        raise ConfigurationError(f"no backend {name!r}; there are {', '.join(map(repr, available_backends()))}")
    try:
        module = importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"backend {name!r} needs {error.name}: python -m pip install 'clip-image-encoder[{name}]'"
        ) from error
    load: Load = module.load
    return load
