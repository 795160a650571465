"""What runs the towers: one file a runtime, and the folder is the registry.

`ImageEncoder(backend="torch")` imports `backends/torch.py` and calls its `load`; `TextEncoder` calls its `load_text`,
if it has one; its `devices` returns the names of what it can run on here. To add a runtime, add a file with functions
of these signatures; nothing else has to know. Files whose name starts with an underscore are parts, not backends.
"""

from __future__ import annotations

from clip_image_encoder.backends._exported import ExportedBackend, ExportedTextBackend
from clip_image_encoder.backends._registry import (
    Load,
    LoadText,
    available_backends,
    find_backend,
    find_devices,
    find_text_backend,
    load_of,
    load_text_of,
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
