"""Graphs on disk: made once, whole or not at all, and found again by what they were made of."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import constants

from clip_image_encoder.checkpoint.hub import in_home
from clip_image_encoder.errors import ConfigurationError

__all__ = ["find_or_make"]


def find_or_make(key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of what has a key, after making it if it isn't there.

    The folders lie in `clip_image_encoder` below HF_HOME, beside the hub's cache. Any number of processes
    may ask at once: a folder appears when it is complete, and whoever comes second uses the first one's.

    Args:
        key: says all that decides the content.
        make: fills an empty folder.

    Raises:
        ConfigurationError: the cache can't be written to.
    """
    root = in_home(constants.HF_HOME) / "clip_image_encoder"
    folder = root / hashlib.sha256(key.encode()).hexdigest()
    if folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        parent = tempfile.TemporaryDirectory(dir=root, prefix="unfinished-")
    except OSError as error:
        raise ConfigurationError(f"{root} can't be written to; set HF_HOME to a folder that can") from error
    with parent:
        made = Path(parent.name) / "made"
        made.mkdir()
        make(made)
        try:
            made.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    return folder
