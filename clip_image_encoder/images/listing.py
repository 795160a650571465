"""The files below a folder, and which of them are images by the endings of their names."""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from clip_image_encoder.images.formats import file_endings

__all__ = [
    "describe_endings",
    "ending_of",
    "files_below",
    "images_below",
    "is_hidden",
    "path_of",
    "warn_of_other_files",
]

_MOST_ENDINGS = 5

# A backslash that looks like the start of an escape that `_name` writes, and such an escape.
_LIKE_AN_ESCAPE = re.compile(rb"\\(?=x(?:[89a-f][0-9a-f]|5c))")
_ESCAPE = re.compile(rb"\\x([89a-f][0-9a-f]|5c)")


def images_below(
    root: Path, formats: Sequence[str], *, without: Path | None = None, raw_photos: bool = False
) -> list[str]:
    r"""Return the names of the images in a folder and in its subfolders, relative to the folder and with `/`.

    Warnings tell the caller's caller what is left out: what `files_below` leaves out, and the number of files that are
    not images.

    Args:
        root: Folder to search.
        formats: Names of file formats, as Pillow writes them; a file is an image if its name has the ending of one.
        without: Folder that is not searched, wherever it lies; None searches all folders.
        raw_photos: Whether cameras' raw photos, such as `.dng`, are images.

    Returns:
        Sorted names, as `files_below` returns them.
    """
    endings = file_endings(formats, raw_photos=raw_photos)
    names = files_below(root, without=without, stacklevel=4)
    images = [name for name in names if ending_of(name) in endings]
    others = Counter(map(ending_of, (name for name in names if ending_of(name) not in endings and not is_hidden(name))))
    warn_of_other_files(others, place=str(root), stacklevel=4)
    return images


def files_below(root: Path, *, without: Path | None = None, stacklevel: int = 3) -> list[str]:
    r"""Return the names of all files in a folder and in its subfolders, relative to the folder and with `/`.

    Links to folders are followed, except a link that leads back to a folder around it. Warnings tell of such links and
    of folders that can't be listed. A million names take 100 MB, since they are str; `path_of` makes a path of one.

    Args:
        root: Folder to search.
        without: Folder that is not searched, wherever it lies; None searches all folders.
        stacklevel: Number of frames up to the caller to blame in warnings, counted from this function.

    Returns:
        Sorted names. Each is valid text, and no two files have the same: a byte that is not UTF-8 is written `\xNN`.
    """
    unread: list[OSError] = []
    circles: list[Path] = []
    names = sorted(map(_name, _files_below(root, without=without, unread=unread, circles=circles)))
    for error in unread:
        warnings.warn(f"{error.filename} is left out: {error.strerror}", stacklevel=stacklevel)
    if circles:
        count = "1 link is" if len(circles) == 1 else f"{len(circles)} links are"
        warnings.warn(
            f"{count} left out because they lead back to a folder above, such as {circles[0]}", stacklevel=stacklevel
        )
    return names


def ending_of(name: str) -> str:
    """Return the ending of a file's name in lower case, such as `.jpg`; "" where there is none."""
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a million Paths would take seconds


def is_hidden(name: str) -> bool:
    """Tell whether a file, or a folder that it is in, has a name that begins with a dot."""
    return "/." in f"/{name}"


def path_of(root: Path, name: str) -> Path:
    """Return the path of a file by the name that `images_below` has returned."""
    if "\\" not in name:
        return root / name
    return root / os.fsdecode(_ESCAPE.sub(lambda found: bytes.fromhex(found[1].decode()), name.encode()))


def warn_of_other_files(endings: Mapping[str, int], *, place: str, stacklevel: int) -> None:
    """Warn of files that are left out because their names don't have the ending of an image.

    Args:
        endings: Number of files by the ending of their names; no warning if it is empty.
        place: Name of the folder or storage that holds them.
        stacklevel: Number of frames up to the caller to blame, as `warnings.warn` counts them from this function.
    """
    total = sum(endings.values())
    if total:
        count = "1 file is" if total == 1 else f"{total} files are"
        warnings.warn(
            f"{count} left out in {place} because their names don't end like those of images: "
            f"{describe_endings(endings)}",
            stacklevel=stacklevel,
        )


def describe_endings(endings: Mapping[str, int]) -> str:
    """Return the number of files by the ending of their names, in words and the most frequent ones first.

    Example:
        >>> describe_endings({".heic": 120, "": 3, ".cr2": 14})
        '120 .heic, 14 .cr2, 3 without an ending'
    """
    ordered = sorted(endings.items(), key=lambda each: (-each[1], not each[0], each[0]))
    several = [f"{count} {ending or 'without an ending'}" for ending, count in ordered[:_MOST_ENDINGS]]
    rest = sum(count for _, count in ordered[_MOST_ENDINGS:])
    return ", ".join([*several, f"{rest} others"] if rest else several)


def _files_below(root: Path, *, without: Path | None, unread: list[OSError], circles: list[Path]) -> Iterator[str]:
    """Yield all files below a folder; `unread` gets folders that can't be listed, `circles` links that lead back."""
    left_out = _identity(without) if without is not None and without.exists() else None
    # Each folder is kept with the folders around it: a link to one of them would be followed forever.
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
    except OSError:  # such as a link that leads to itself
        return False


def _name(file: str) -> str:
    if file.isascii() and "\\" not in file:
        return file
    # Linux allows names that are not UTF-8: their bytes are escaped. So is the backslash of a name that looks escaped.
    name = _LIKE_AN_ESCAPE.sub(rb"\\x5c", os.fsencode(file))
    return name.decode("utf-8", "backslashreplace")
