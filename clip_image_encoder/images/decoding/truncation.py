"""Files whose end is missing: an error, or the part that is there with a warning."""

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
    """The end of a file, met while rows of its image are still to be read."""


class EndingFile(io.BytesIO):
    """A file in memory that raises an error at its end.

    Pillow's own error can be switched off for the whole process (`PIL.ImageFile.LOAD_TRUNCATED_IMAGES`).
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            FileEndsError: No bytes are left.
        """
        data = super().read(size)
        if not data and size:
            raise FileEndsError
        return data


def load_rows(image: ImageFile.ImageFile, *, truncated: Truncated, source: str) -> None:
    """Load an image of a format that is decoded row by row.

    Args:
        image: Image that is opened and not loaded yet; except for a PNG, it reads from an `EndingFile`.
        truncated: Treatment of an image whose end is missing: "raise" or "keep".
        source: Short description of the image, for error messages.

    Raises:
        CorruptImageError: The file ends early and `truncated` is "raise".
    """
    try:
        image.load()
    except OSError as error:
        # For a PNG the message is Pillow's own. The image has its memory by now, with the rows that the file had.
        if not isinstance(error, FileEndsError) and "truncated" not in str(error):
            raise
        report_missing(
            f"the end of its {image.format} data is missing", truncated=truncated, source=source, cause=error
        )
        image.tile = []


def report_missing(what: str, *, truncated: Truncated, source: str, cause: Exception | None = None) -> None:
    """Raise an error for an image with a missing part, or warn of it.

    Args:
        what: Statement of what is missing, such as "rows are missing".
        truncated: Whether to raise an error ("raise") or to warn ("keep").
        source: Short description of the image, for error messages.
        cause: Exception of the decoder; None if it raised none.

    Raises:
        CorruptImageError: `truncated` is "raise".
    """
    if truncated == "raise":
        raise CorruptImageError(f"{what}; ImageLoader(truncated='keep') takes what is left", source=source) from cause
    warnings.warn(f"{source}: {what}; what is left of it is used", stacklevel=2)


def unpacked_size(piece: bytes, inflater: zlib._Decompress) -> int:
    """Return the number of bytes that the next piece of a zlib stream unpacks to, in bounded memory."""
    count = 0
    while piece and not inflater.eof:
        count += len(inflater.decompress(piece, 1 << 20))
        piece = inflater.unconsumed_tail
    return count
