"""A list of paths and URLs in a text or CSV file as a source."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import ImageInput
from clip_image_encoder.images.describe import describe_url
from clip_image_encoder.sources.selection import ImageSource, Selection

__all__ = ["ListedImages"]

_COLUMNS = ("path", "url", "image")
_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class ListedImages:
    r"""The images that a file lists, one a line; a name is what stands in the list.

    A path that is relative starts from the folder of the list. URLs, `http://` and `https://`, are read only by
    a loader that allows them. A path or URL that is listed again is one image.

    Args:
        place: Text file, in UTF-8, with a path or URL in each line; or a file with a header that ends with `.csv`
            (separated by commas) or `.tsv` (by tabs).
        column: Name of the column of a `.csv` or `.tsv`; None takes the first of `path`, `url` and `image` that it has.

    Raises:
        ConfigurationError: There is no such file.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from clip_image_encoder import ImageLoader
        >>> from clip_image_encoder.sources import ListedImages, Selection
        >>> place = Path(tempfile.mkdtemp(), "list.csv")
        >>> _ = place.write_text("path,label\na.jpg,cat\nb.jpg,dog\n")
        >>> [name for name, image in ListedImages(place).images(Selection(ImageLoader()))]
        ['a.jpg', 'b.jpg']
    """

    place: str | os.PathLike[str]
    column: str | None = None

    def __post_init__(self) -> None:
        if not Path(self.place).is_file():
            raise ConfigurationError(f"{self.place}: there is no such list of images")
        if self.column is not None and self._delimiter is None:
            raise ConfigurationError(f"{self.place}: only a .csv or .tsv has a column {self.column!r}")

    def images(self, selection: Selection, /) -> Iterator[tuple[str, ImageInput]]:
        """Return an iterator of names, and of absolute paths and URLs; the whole list is read before.

        Args:
            selection: Images that the job takes, and counts of the others.

        Raises:
            ConfigurationError: The list is not UTF-8, has no such column, or names URLs that the loader does not read.
        """
        folder = Path(self.place).absolute().parent
        taken = [name for name in self._names() if self._is_read(name, selection) and selection.takes(name)]
        selection.total = len(taken)
        return ((name, name if _SCHEME.match(name) else folder / name) for name in taken)

    def parts(self) -> Sequence[ImageSource]:
        """Return the list itself."""
        return [self]

    @property
    def _delimiter(self) -> str | None:
        return _DELIMITERS.get(Path(self.place).suffix.lower())

    def _names(self) -> Iterator[str]:
        delimiter = self._delimiter
        try:
            with Path(self.place).open(encoding="utf-8-sig", newline="" if delimiter else None) as file:
                if delimiter is None:
                    lines = (line.rstrip("\n") for line in file)
                else:
                    rows = csv.DictReader(file, delimiter=delimiter)
                    column = self._column(rows.fieldnames or ())
                    lines = (row[column] or "" for row in rows)
                yield from (line for line in lines if line.strip())
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigurationError(f"{self.place} is not a list in UTF-8: {error}") from error

    def _column(self, columns: Sequence[str]) -> str:
        for name in _COLUMNS if self.column is None else (self.column,):
            if name in columns:
                return name
        wanted = "path, url or image" if self.column is None else repr(self.column)
        raise ConfigurationError(f"{self.place} has no column {wanted}, but {', '.join(columns) or 'none'}")

    def _is_read(self, name: str, selection: Selection) -> bool:
        scheme = _SCHEME.match(name)
        if scheme is None:
            return True
        if scheme[0].lower() not in ("http://", "https://"):
            raise ConfigurationError(f"{self.place}: {scheme[0]} is no scheme that is read, but http:// and https://")
        if selection.loader.urls is None:
            raise ConfigurationError(
                f"{self.place} has URLs, such as {describe_url(name)}, which the loader does not read; "
                "ImageLoader(urls=UrlPolicy()) reads them, and so does --allow-urls on the command line"
            )
        return True
