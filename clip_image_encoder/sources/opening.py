"""The source that a path means, told by its ending."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.sources.folder import FolderImages
from clip_image_encoder.sources.listed import ListedImages
from clip_image_encoder.sources.parquet import ParquetImages
from clip_image_encoder.sources.selection import ImageSource
from clip_image_encoder.sources.stored import Places
from clip_image_encoder.sources.tar import TarImages

__all__ = ["open_source"]

_LISTS = (".txt", ".csv", ".tsv")
_COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


def open_source(
    places: Places,
    *,
    column: str | None = None,
    name_column: str | None = None,
    by_content: bool = False,
    without: str | os.PathLike[str] | None = None,
) -> ImageSource:
    """Return the source of images at a place: a folder, or tar files, Parquet files or a list by their endings.

    Args:
        places: Folder; tar file or files (`.tar`); Parquet file or files (`.parquet`); or list (`.txt`, `.csv` or
            `.tsv`). For tar and Parquet files, a pattern such as `shards/*.tar` or a URL, too.
        column: Name of the column of images, of Parquet files and of lists; None means the default of each.
        name_column: Name of the column of names of Parquet files; None numbers the rows.
        by_content: Whether the first bytes of files in folders and tar files tell that they are images.
        without: Folder that is not searched, as in `FolderImages`; None searches all folders.

    Raises:
        ConfigurationError: There is no such file or folder; or an argument does not fit the kind of source.

    Example:
        >>> from clip_image_encoder.sources import open_source
        >>> open_source(".")
        FolderImages(root='.', by_content=False, without=None)
    """
    listed = [places] if isinstance(places, (str, os.PathLike)) else list(places)
    kinds = {_kind_of(place) for place in listed}
    if len(kinds) != 1 or (kinds <= {"folder", "list"} and len(listed) > 1):
        raise ConfigurationError("pass one folder, one list, or several files that are all .tar or all .parquet")
    kind = kinds.pop()
    if name_column is not None and kind != "parquet":
        raise ConfigurationError("a column of names is for Parquet files only")
    if column is not None and kind not in ("parquet", "list"):
        raise ConfigurationError("a column of images is for Parquet files, .csv and .tsv only")
    if by_content and kind not in ("folder", "tar"):
        raise ConfigurationError("only files in folders and tar files are judged by their content")
    if kind == "tar":
        return TarImages(tuple(listed), by_content)
    if kind == "parquet":
        return ParquetImages(tuple(listed), "image" if column is None else column, name_column)
    if kind == "list":
        return ListedImages(listed[0], column)
    return FolderImages(listed[0], by_content, without)


def _kind_of(place: str | os.PathLike[str]) -> str:
    name = os.fspath(place)
    if "://" not in name and Path(name).is_dir():
        return "folder"
    if name.lower().endswith(_COMPRESSED):
        raise ConfigurationError(f"{name} is compressed; decompress it to a .tar first")
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _LISTS:
        return "list"
    return {".tar": "tar", ".parquet": "parquet"}.get(suffix, "folder")
