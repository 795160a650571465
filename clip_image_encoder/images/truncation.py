"""Files whose end is missing: refused, or what is left of them with a warning."""

from __future__ import annotations

import io
import warnings
from typing import Literal, TypeAlias

from PIL import ImageFile

from clip_image_encoder.errors import CorruptImageError

__all__ = ["EncodedFile", "Truncated", "load_rows", "report_missing"]

Truncated: TypeAlias = Literal["raise", "keep"]


class EncodedFile(io.BytesIO):
    """A file in memory that Pillow decodes, and whose end is an error once its pixels are read.

    Pillow's own error for it can be switched off for the whole process (`LOAD_TRUNCATED_IMAGES`).

    Attributes:
        ends: whether reading at the end raises OSError.
    """

    ends = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            OSError: there are none left, and `ends` is set.
        """
        return super().read(size) or (self.at_end() if size else b"")

    def at_end(self) -> bytes:
        """Return nothing.

        Raises:
            OSError: `ends` is set.
        """
        if self.ends:
            raise OSError("the file ends before its pixels do")
        return b""


def load_rows(image: ImageFile.ImageFile, *, truncated: Truncated, source: str) -> None:
    """Load an image of a format that is decoded row by row.

    Raises:
        CorruptImageError: the file ends early and `truncated` is "raise".
    """
    if isinstance(image.fp, EncodedFile):
        image.fp.ends = True
    try:
        image.load()
    except OSError:
        # Pillow has made the image's memory by now, and filled the rows that there were.
        if truncated == "raise" or image.tile == [] or image._im is None:
            raise
        image.tile = []
        report_missing("its end is missing", truncated=truncated, source=source)


def report_missing(what: str, *, truncated: Truncated, source: str) -> None:
    """Raise an error for an image of which a part is missing, or warn of it.

    Raises:
        CorruptImageError: `truncated` is "raise".
    """
    if truncated == "raise":
        raise CorruptImageError(f"{what}; ImageLoader(truncated='keep') takes what is left", source=source)
    warnings.warn(f"{source}: {what}; what is left of it is used", stacklevel=2)
