"""A store of folders below HF_HOME, such as those of graphs: each is made once, completely, and found by its key."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import Timeout
from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # exported, but not by `__all__`

from clip_image_encoder.checkpoint._hub import in_home
from clip_image_encoder.errors import ConfigurationError

__all__ = ["find_or_make", "forget"]

_SIZES = "complete.json"
"""Name of the file with the sizes of a folder's files; it is written last, and shows whether the folder is complete."""

_UNFINISHED = "unfinished-"


def find_or_make(key: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of a key, which is made if it isn't there or if files of it are missing or cut short.

    The folders lie in `clip_image_encoder` below HF_HOME, beside the hub's cache. If several threads and processes call
    this at once, one of them makes the folder, which appears when it is complete, and the others wait for it.

    Args:
        key: String that contains all that decides the folder's content.
        make: Function that fills an empty folder, whose path it is given.

    Raises:
        ConfigurationError: The cache can't be written to.
    """
    root, name = _place(key)
    folder = root / name
    if _is_complete(folder):
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=root).close()
    except OSError as error:
        raise ConfigurationError(f"{root} can't be written to; set HF_HOME to a folder that can") from error
    with WeakFileLock(_lock(root, name)):
        if not _is_complete(folder):  # it may have been made while this call waited for the lock
            _remove_leftovers(root, own=name)
            _make(folder, make)
    return folder


def forget(key: str) -> None:
    """Remove the folder of a key, if it is there, so that the next `find_or_make` makes it again.

    Args:
        key: String that contains all that decides the folder's content.
    """
    root, name = _place(key)
    if (root / name).exists():
        with WeakFileLock(_lock(root, name)):
            shutil.rmtree(root / name, ignore_errors=True)


def _place(key: str) -> tuple[Path, str]:
    """Return the folder that contains all folders, and the name of the folder of a key."""
    return in_home(constants.HF_HOME) / "clip_image_encoder", hashlib.sha256(key.encode()).hexdigest()


def _make(folder: Path, make: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{_UNFINISHED}{folder.name}-") as parent:
        made = Path(parent) / "made"
        made.mkdir()
        make(made)
        sizes = {str(file.relative_to(made)): file.stat().st_size for file in made.rglob("*") if file.is_file()}
        (made / _SIZES).write_text(json.dumps(sizes))
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _is_complete(folder: Path) -> bool:
    try:
        sizes: dict[str, int] = json.loads((folder / _SIZES).read_bytes())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _remove_leftovers(root: Path, *, own: str) -> None:
    """Remove unfinished folders of processes that were killed; a folder whose lock is still held stays."""
    for leftover in root.glob(f"{_UNFINISHED}*-*"):
        name = leftover.name.removeprefix(_UNFINISHED).partition("-")[0]
        if name == own:
            shutil.rmtree(leftover, ignore_errors=True)
            continue
        try:
            with WeakFileLock(_lock(root, name), timeout=0.1):
                shutil.rmtree(leftover, ignore_errors=True)
        except Timeout:  # another process is making it
            continue


def _lock(root: Path, name: str) -> Path:
    return root / f"{name}.lock"
