"""Files whose end is missing: refused, or what is left of them with a warning."""

from __future__ import annotations

import io
import warnings
import zlib
from typing import Literal, TypeAlias

from PIL import ImageFile

from clip_image_encoder.errors import CorruptImageError

__all__ = ["EndingFile", "FileEndsError", "Truncated", "load_rows", "report_missing", "unpacked_size"]

Truncated: TypeAlias = Literal["raise", "keep"]


class FileEndsError(OSError):
    """Nothing is left of a file whose rows are being read."""


class EndingFile(io.BytesIO):
    """A file in memory whose end is an error.

    Pillow's own error for it can be switched off for the whole process (`LOAD_TRUNCATED_IMAGES`).
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            FileEndsError: there are none left.
        """
        data = super().read(size)
        if not data and size:
            raise FileEndsError
        return data


def load_rows(image: ImageFile.ImageFile, *, truncated: Truncated, source: str) -> None:
    """Load an image of a format that is decoded row by row.

    Args:
        image: opened and not loaded yet; of most formats, it reads from an `EndingFile`.
        truncated: what becomes of an image whose end is missing.
        source: the image in a few words.

    Raises:
        CorruptImageError: the file ends early and `truncated` is "raise".
    """
    try:
        image.load()
    except OSError as error:
        # In Pillow's own words, for a PNG. It has made the image's memory by now, and filled the rows that there were.
        if not isinstance(error, FileEndsError) and "truncated" not in str(error):
            raise
        report_missing(
            f"the end of its {image.format} data is missing", truncated=truncated, source=source, cause=error
        )
        image.tile = []


def report_missing(what: str, *, truncated: Truncated, source: str, cause: Exception | None = None) -> None:
    """Raise an error for an image of which a part is missing, or warn of it.

    Args:
        what: the part, such as `rows are missing`.
        truncated: which of the two.
        source: the image in a few words.
        cause: what the decoder raised; None if it didn't notice.

    Raises:
        CorruptImageError: `truncated` is "raise".
    """
    if truncated == "raise":
        raise CorruptImageError(f"{what}; ImageLoader(truncated='keep') takes what is left", source=source) from cause
    warnings.warn(f"{source}: {what}; what is left of it is used", stacklevel=2)


def unpacked_size(piece: bytes, inflater: zlib._Decompress) -> int:
    """Return the number of bytes that the next piece of a compressed stream unpacks to, without holding them."""
    count = 0
    while piece and not inflater.eof:
        count += len(inflater.decompress(piece, 1 << 20))
        piece = inflater.unconsumed_tail
    return count
