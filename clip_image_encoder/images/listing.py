"""Which files below a folder are images, by their names."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from clip_image_encoder.images.formats import file_endings

__all__ = ["images_below", "path_of", "warn_of_other_files"]

_MOST_ENDINGS = 5

# A backslash that could be taken for the first of an escape that `_name` writes, and such an escape.
_LIKE_AN_ESCAPE = re.compile(rb"\\(?=x(?:[89a-f][0-9a-f]|5c))")
_ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f]|5c)")


def images_below(root: Path, formats: Sequence[str], *, without: Path | None = None) -> list[str]:
    r"""Return the names of the images in a folder and the folders in it, as they are below it, with `/`.

    Links to folders are followed, but for those that lead back to a folder around them. What is left out is
    told in warnings to the caller's caller: folders that can't be listed, such links, and how many files don't
    end as images do. A million names take 100 MB: they are texts, of which `path_of` makes paths.

    Args:
        root: The folder.
        formats: Pillow's names; a file whose name ends as those of one of them do is an image.
        without: A folder that isn't searched, wherever it is; None searches them all.

    Returns:
        Sorted names, which are always text: a byte that is none is `\xNN`, and every file has a name of its own.
    """
    endings = file_endings(formats)
    unread: list[OSError] = []
    circles: list[Path] = []
    images: list[str] = []
    others: list[str] = []
    for file in _files_below(root, without=without, unread=unread, circles=circles):
        ending = os.path.splitext(file)[1].lower()  # noqa: PTH122 - a million Paths would take seconds
        (images if ending in endings else others).append(_name(file))
    for error in unread:
        warnings.warn(f"{error.filename} is left out: {error.strerror}", stacklevel=3)
    if circles:
        count = "1 link is" if len(circles) == 1 else f"{len(circles)} links are"
        warnings.warn(f"{count} left out, that lead back to a folder around them, such as {circles[0]}", stacklevel=3)
    warn_of_other_files(others, place=str(root), stacklevel=4)
    images.sort()
    return images


def path_of(root: Path, name: str) -> Path:
    """Return the path of a file, of which `images_below` has returned the name."""
    if "\\" not in name:
        return root / name
    return root / os.fsdecode(_ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), name.encode()))


def warn_of_other_files(names: Iterable[str], *, place: str, stacklevel: int) -> None:
    """Warn of files that are left out since their names don't end as pictures do.

    Args:
        names: of the files that are left out, below the place; hidden ones, and those in hidden folders, don't count.
        place: where they are.
        stacklevel: as `warnings.warn` counts from here.
    """
    endings = Counter(Path(name).suffix.lower() for name in names if "/." not in f"/{name}")
    if not endings:
        return
    several = [f"{count} {ending or 'without an ending'}" for ending, count in endings.most_common(_MOST_ENDINGS)]
    rest = endings.total() - sum(count for _, count in endings.most_common(_MOST_ENDINGS))
    if rest:
        several.append(f"{rest} others")
    count = "1 file is" if endings.total() == 1 else f"{endings.total()} files are"
    warnings.warn(
        f"{count} left out in {place}, whose names don't end as those of pictures that are read: {', '.join(several)}",
        stacklevel=stacklevel,
    )


def _files_below(root: Path, *, without: Path | None, unread: list[OSError], circles: list[Path]) -> Iterator[str]:
    """Yield all files below a folder, and add the folders that can't be listed and the links that lead back."""
    left_out = _identity(without) if without is not None and without.exists() else None
    # Beside each folder, those around it: one that is among them would be searched for ever.
    pending = [("", frozenset(map(_identity, root.resolve().parents)))]
    while pending:
        prefix, around = pending.pop()
        folder = root / prefix
        try:
            identity = _identity(folder)
            if identity == left_out:
                continue
            if identity in around:
                circles.append(folder)
                continue
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError as error:
            unread.append(error)
            continue
        for entry in found:
            if _is_folder(entry):
                pending.append((f"{prefix}{entry.name}/", around | {identity}))
            else:
                yield prefix + entry.name


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself, say
        return False


def _name(file: str) -> str:
    if file.isascii() and "\\" not in file:
        return file
    # A name that is no text, as Linux allows, is still one of its own; so is a text that looks like it.
    name = _LIKE_AN_ESCAPE.sub(rb"\\x5c", os.fsencode(file))
    return name.decode("utf-8", "backslashreplace")
