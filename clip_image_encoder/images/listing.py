"""Which files below a folder are pictures, by their names."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from clip_image_encoder.images.formats import file_endings

__all__ = ["pictures_below"]


def pictures_below(root: Path, formats: Sequence[str]) -> list[tuple[str, Path]]:
    """Return the pictures in a folder and the folders in it: the name below it, which is always text, and the path.

    A folder that can't be listed is left out, with a warning that names it to the caller's caller.

    Args:
        root: the folder.
        formats: Pillow's names; a file whose name ends as those of one of them do is a picture.
    """
    endings = file_endings(formats)
    unread: list[OSError] = []
    found = (Path(folder, file) for folder, _, files in os.walk(root, onerror=unread.append) for file in files)
    pictures = sorted((_name(path, root), path) for path in found if path.suffix.lower() in endings)
    for error in unread:
        warnings.warn(f"{error.filename} is left out: {error.strerror}", stacklevel=3)
    return pictures


def _name(path: Path, root: Path) -> str:
    # A name that is no text, as Linux allows, is still one of its own.
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")
