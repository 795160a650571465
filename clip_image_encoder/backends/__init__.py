"""Backends: the runtimes that compute a checkpoint's towers. Each is one public file of this folder.

`ImageEncoder(backend="torch")` imports `backends/torch.py` and calls its `load`; `TextEncoder` calls its `load_text`,
if it has one. Its function `devices` returns the names of the devices that it can run on here. A runtime that exported
folders may be made for also has its class as `RUNTIME`. To add a backend, add a file with these names; no other file
changes. Files whose names start with an underscore are parts of backends.
"""

from __future__ import annotations

from clip_image_encoder.backends._choice import load_of, load_text_of
from clip_image_encoder.backends._exported import ExportedBackend, ExportedTextBackend
from clip_image_encoder.backends._registry import (
    Load,
    LoadText,
    available_backends,
    find_backend,
    find_devices,
    find_text_backend,
)

__all__ = [
    "ExportedBackend",
    "ExportedTextBackend",
    "Load",
    "LoadText",
    "available_backends",
    "find_backend",
    "find_devices",
    "find_text_backend",
    "load_of",
    "load_text_of",
]
