"""The choice of what loads a checkpoint's towers: a backend by its name, a function, or the runtime of its folder."""

from __future__ import annotations

from clip_image_encoder.backends._exported import ExportedBackend, ExportedTextBackend
from clip_image_encoder.backends._registry import Load, LoadText, find_backend, find_text_backend
from clip_image_encoder.checkpoint import Checkpoint

__all__ = ["load_of", "load_text_of"]


def load_of(backend: str | Load | None, checkpoint: Checkpoint) -> Load:
    """Return the function that loads a checkpoint's vision tower.

    Args:
        backend: Name of a backend, or a function that is returned as it is; None means the runtime that an exported
            folder was made for, and torch for any other checkpoint.
        checkpoint: Checkpoint that will be loaded.

    Raises:
        ConfigurationError: There is no backend of that name.
        MissingExtraError: The packages that it needs are not installed.
    """
    if backend is None and checkpoint.runtime:
        return ExportedBackend
    return find_backend(backend or "torch") if backend is None or isinstance(backend, str) else backend


def load_text_of(backend: str | LoadText | None, checkpoint: Checkpoint) -> LoadText:
    """Return the function that loads a checkpoint's text tower.

    Args:
        backend: Name of a backend, or a function that is returned as it is; None means the runtime that an exported
            folder was made for, and torch for any other checkpoint.
        checkpoint: Checkpoint that will be loaded.

    Raises:
        ConfigurationError: There is no backend of that name, or it does not run text towers.
        MissingExtraError: The packages that it needs are not installed.
    """
    if backend is None and checkpoint.runtime:
        return ExportedTextBackend
    return find_text_backend(backend or "torch") if backend is None or isinstance(backend, str) else backend
