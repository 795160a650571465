"""A folder of image files as a source."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import ImageInput
from clip_image_encoder.images.listing import files_below, path_of
from clip_image_encoder.sources.selection import ImageSource, Selection
from clip_image_encoder.sources.stored import BEGIN

__all__ = ["FolderImages"]


@dataclass(frozen=True)
class FolderImages:
    r"""The images of a folder and its subfolders, in the order of their names.

    Names are relative to the folder, with `/`; a byte that is not valid in a path's encoding is written as `\xNN`.
    Links are followed. Folders that can't be listed, and links that lead back to a folder around them, are left out
    with a warning.

    Args:
        root: Folder of images.
        by_content: Whether the first bytes of a file tell that it is an image; False judges by the ending of its name.
        without: Folder that is not searched, such as the job's destination; None and a URL search all folders.

    Raises:
        ConfigurationError: There is no such folder.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageLoader
        >>> from clip_image_encoder.sources import FolderImages, Selection
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 64), "red").save(folder / "red.png")
        >>> [name for name, image in FolderImages(folder).images(Selection(ImageLoader()))]
        ['red.png']
    """

    root: str | os.PathLike[str]
    by_content: bool = False
    without: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if not Path(self.root).is_dir():
            raise ConfigurationError(f"{self.root} is not a folder")

    def images(self, selection: Selection, /) -> Iterator[tuple[str, ImageInput]]:
        """Return an iterator of names and paths; all names are listed before.

        Args:
            selection: Images that the job takes, and counts of the others.
        """
        root = Path(self.root)
        names = files_below(root, without=self._without)
        if self.by_content:
            return ((name, path) for name, path in _paths(root, names) if _takes_by_content(selection, name, path))
        taken = [name for name in names if selection.takes_file(name)]
        selection.total = len(taken)
        return _paths(root, taken)

    @property
    def _without(self) -> Path | None:
        return None if self.without is None or "://" in os.fspath(self.without) else Path(self.without)

    def parts(self) -> Sequence[ImageSource]:
        """Return the folder itself."""
        return [self]


def _paths(root: Path, names: list[str]) -> Iterator[tuple[str, Path]]:
    return ((name, path_of(root, name)) for name in names)


def _takes_by_content(selection: Selection, name: str, path: Path) -> bool:
    try:
        return selection.takes_file(name, begin=lambda: _begin_of(path))
    except OSError:  # the loader says what is wrong with it
        return selection.takes(name)


def _begin_of(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):
        return b""  # to open a pipe would wait for its other end
    with path.open("rb") as file:
        return file.read(BEGIN)
