"""What a source of images is, and the part of its images that a job takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Protocol

from clip_image_encoder.images import ImageInput, ImageLoader
from clip_image_encoder.images.formats import RAW_FORMATS, file_endings, format_of, is_allowed
from clip_image_encoder.images.listing import ending_of, is_hidden

__all__ = ["ImageSource", "Selection"]


class ImageSource(Protocol):
    """Images that have names, such as those of a folder; a job can go through them again and again."""

    def images(self, selection: Selection, /) -> Iterator[tuple[str, ImageInput]]:
        """Return an iterator of names and images, of those that the selection takes.

        It asks `selection.takes` or `selection.takes_file` for each name, and yields the image only if the answer is
        True. An image costs little until it is loaded: paths and file objects that are opened by their first
        `read` are loaded by several threads.

        Args:
            selection: Images that the job takes, and counts of the others.

        Raises:
            ConfigurationError: The source is not there, or is not of its kind.
        """
        ...

    def parts(self) -> Sequence[ImageSource]:
        """Return sources that together have the images of this one, to be read at a time; `[self]` if it is whole."""
        ...


class Selection:
    """The images of a source that a job takes, and counts of the others; a source asks it for each name.

    Args:
        loader: Loader of the images, which tells the formats that are read.
        done: Names of images that have been encoded before.
        counts_only: Whether no image is taken, so that a source counts its images without reading them.

    Attributes:
        loader: Loader of the images.
        new: Number of images that have not been encoded before.
        skipped: Number of images that have been encoded before.
        repeated: Number of images whose name has come before in the source.
        left_out: Number of files that are not images, by the ending of their names; hidden files don't count.
        total: Number of images that are taken, where the source knows it before it yields the first; else None.

    Example:
        >>> from clip_image_encoder import ImageLoader
        >>> from clip_image_encoder.sources import Selection
        >>> selection = Selection(ImageLoader(), done={"a.jpg"})
        >>> [selection.takes_file(name) for name in ("a.jpg", "b.jpg", "notes.txt")]
        [False, True, False]
        >>> selection.new, selection.skipped, dict(selection.left_out)
        (1, 1, {'.txt': 1})
    """

    def __init__(self, loader: ImageLoader, *, done: Set[str] = frozenset(), counts_only: bool = False) -> None:
        self.loader = loader
        self.new = 0
        self.skipped = 0
        self.repeated = 0
        self.left_out: Counter[str] = Counter()
        self.total: int | None = None
        self._endings = file_endings(loader.formats, raw_photos=loader.raw_photos != "refuse")
        self._done = done
        self._seen: set[str] = set()
        self._counts_only = counts_only

    @property
    def names(self) -> Set[str]:
        """Names of all images that the source has asked for."""
        return self._seen

    def takes(self, name: str) -> bool:
        """Tell whether the job takes an image of this name, and count it.

        Args:
            name: Name of an image.
        """
        if name in self._seen:
            self.repeated += 1
            return False
        self._seen.add(name)
        if name in self._done:
            self.skipped += 1
            return False
        self.new += 1
        return not self._counts_only

    def takes_file(self, name: str, *, begin: Callable[[], bytes] | None = None) -> bool:
        """Tell whether the job takes a file, and count it; a file that is not an image is left out.

        Args:
            name: Name of the file.
            begin: Function that returns the first bytes of the file, which tell whether it is an image; None judges by
                the ending of the name. It is not called for images that have been encoded before.

        Raises:
            OSError: The function has raised it.
        """
        if self._is_image_file(name, begin):
            return self.takes(name)
        self.leave_out(name)
        return False

    def leave_out(self, name: str) -> None:
        """Count a file that is left out, unless it is hidden.

        Args:
            name: Name of the file.
        """
        if not is_hidden(name):
            self.left_out[ending_of(name)] += 1

    def _is_image_file(self, name: str, begin: Callable[[], bytes] | None) -> bool:
        if begin is None:
            return ending_of(name) in self._endings
        if name in self._done:
            return True
        kind = format_of(begin())
        return is_allowed(kind, self.loader.formats) or (kind in RAW_FORMATS and self.loader.raw_photos != "refuse")
