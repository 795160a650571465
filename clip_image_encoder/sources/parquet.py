"""Parquet files with the bytes of images as a source, such as those of Hugging Face's datasets."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import ImageInput
from clip_image_encoder.sources.selection import ImageSource, Selection
from clip_image_encoder.sources.stored import Places, StoredFile, files_at

__all__ = ["ParquetImages"]

# Rows that are read at a time.
_ROWS = 32
_BUFFER = 2**20


@dataclass(frozen=True)
class ParquetImages:
    """The images in a column of Parquet files, in the order of the rows.

    Without a column of names, a name is such as `train-000.parquet/17`, the file's with the number of the row from 0.
    Some rows are read at a time; groups of rows that have been encoded before are not read again. A file that is
    damaged is left out from there on, with a warning.

    Args:
        places: Path or URL of a Parquet file, of a folder of such files, or a pattern such as `data/*.parquet`; or
            several.
        column: Name of the column of images: the content of an image file as binary, or a struct with a field `bytes`
            of such, as Hugging Face's datasets store images. A null is an image that can't be read.
        name_column: Name of a column whose values are all different, which become the names; None numbers the rows.

    Raises:
        ConfigurationError: There is no such file, or two files have the same name.

    Example:
        >>> import io, tempfile
        >>> from pathlib import Path
        >>> import pyarrow as pa, pyarrow.parquet
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageLoader
        >>> from clip_image_encoder.sources import ParquetImages, Selection
        >>> file = io.BytesIO()
        >>> Image.new("RGB", (64, 64), "red").save(file, "PNG")
        >>> place = Path(tempfile.mkdtemp(), "train.parquet")
        >>> pa.parquet.write_table(pa.table({"image": [file.getvalue()]}), place)
        >>> [name for name, image in ParquetImages(place).images(Selection(ImageLoader()))]
        ['train.parquet/0']
    """

    places: Places
    column: str = "image"
    name_column: str | None = None
    _files: tuple[StoredFile, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", files_at(self.places, ending=".parquet"))

    def images(self, selection: Selection, /) -> Iterator[tuple[str, ImageInput]]:
        """Return an iterator of names and bytes.

        Args:
            selection: Images that the job takes, and counts of the others.

        Raises:
            ConfigurationError: A file has no such column, or it holds something else; the first file is not a Parquet
                file.
        """
        import pyarrow as pa  # imported here: if it is missing, parquet.py has raised an error with the install line

        first = self._files[0]
        try:
            with _opened(first) as file:
                _check_columns(file, first.label, self.column, self.name_column)
        except (pa.ArrowException, OSError) as error:
            raise ConfigurationError(f"{first.label} is damaged, or not a Parquet file") from error
        return (image for part in self.parts() for image in part.images(selection))

    def parts(self) -> Sequence[ImageSource]:
        """Return a source for each file."""
        return [_ParquetFile(file, self.column, self.name_column) for file in self._files]


@dataclass(frozen=True)
class _ParquetFile:
    stored: StoredFile
    column: str
    name_column: str | None

    def parts(self) -> Sequence[ImageSource]:
        return [self]

    def images(self, selection: Selection, /) -> Iterator[tuple[str, ImageInput]]:
        import pyarrow as pa

        label = self.stored.label
        try:
            with _opened(self.stored) as file:
                images = _check_columns(file, label, self.column, self.name_column)
                start = 0
                for group in range(file.num_row_groups):
                    count = file.metadata.row_group(group).num_rows
                    names = self._names(file, group, range(start, start + count))
                    start += count
                    wanted = [selection.takes(name) for name in names]
                    if any(wanted):
                        rows = zip(names, wanted, _values(file, group, images), strict=True)
                        yield from ((name, value) for name, is_wanted, value in rows if is_wanted)
        except (pa.ArrowException, OSError) as error:
            warnings.warn(f"the rest of {label} is left out: {error}", stacklevel=2)

    def _names(self, file: Any, group: int, rows: range) -> list[str]:
        if self.name_column is None:
            return [f"{self.stored.label}/{row}" for row in rows]
        values = file.read_row_group(group, columns=[self.name_column])[self.name_column].to_pylist()
        return [str(value) for value in values]


def _check_columns(file: Any, label: str, column: str, name_column: str | None) -> str:
    """Check the columns of a file, and return the path of the one that holds bytes."""
    import pyarrow as pa

    schema = file.schema_arrow
    for name in (column, name_column):
        if name is not None and name not in schema.names:
            raise ConfigurationError(f"{label} has no column {name!r}, but {', '.join(schema.names)}")
    path, kind = column, schema.field(column).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        path, kind = f"{path}.bytes", kind.field("bytes").type
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise ConfigurationError(f"{label}: the column {column!r} holds {kind}, and not the bytes of images")
    return path


@contextmanager
def _opened(stored: StoredFile) -> Iterator[Any]:
    from pyarrow import parquet

    # pyarrow's default reads whole groups of rows ahead.
    with stored.open() as raw, parquet.ParquetFile(raw, buffer_size=_BUFFER, pre_buffer=False) as file:
        yield file


def _values(file: Any, group: int, path: str) -> Iterator[bytes]:
    """Yield the bytes of a group's rows; none where a row has no image."""
    for batch in file.iter_batches(_ROWS, row_groups=[group], columns=[path], use_threads=False):
        for value in batch.column(0):
            content = value.as_py()
            yield (content["bytes"] if isinstance(content, dict) else content) or b""
