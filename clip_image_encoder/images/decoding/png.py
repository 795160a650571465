"""PNG: chunks that change no pixel are left out, and missing rows are found."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import PngImagePlugin

from clip_image_encoder.images.decoding.truncation import Truncated, load_rows, report_missing, unpacked_size
from clip_image_encoder.images.limits import check_parts

__all__ = ["load_png", "png_weight", "relevant_chunks"]

_SIGNATURE = 8
_END = b"\0\0\0\0IEND\xaeB`\x82"
# Chunks that change the result though an image can be shown without them.
_PROFILES = (b"eXIf", b"iCCP")
_RELEVANT = frozenset({b"tRNS", *_PROFILES})

_ORDINARY_BITS = 24

# libpng writes chunks of 8 kB: 100 MB are about 12,000.
_MOST_CHUNKS = 100_000

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # channels by color type
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7 (PNG specification, 8.1): the first column and row of each pass, and the steps to the next ones."""


def relevant_chunks(data: bytes, *, truncated: Truncated, source: str) -> bytes:
    """Return a PNG without its texts, times, later frames and other chunks that change no pixel.

    Pillow refuses a file in which the checksum of a text is wrong. Here only the chunks of pixels have to be
    right; Exif data or a profile with a wrong checksum is left out, as libpng does.

    Raises:
        ImageTooLargeError: The file has more than 100,000 chunks.
        CorruptImageError: A checksum of pixels is wrong and `truncated` is "raise".
    """
    kept = [(0, _SIGNATURE)]
    position, chunks = _SIGNATURE, 0
    while position + 8 <= len(data):
        name = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        chunks += 1
        check_parts(chunks, most=_MOST_CHUNKS, parts="chunks", source=source)
        if name == b"IEND" or end > len(data):
            kept.append((position, min(end, len(data))))
            break
        if name == b"IDAT" and not _is_sound(data, position, end):
            # Pillow does not check it, and decodes the zeros that a broken download has in the place of data.
            report_missing("the checksum of its pixels is wrong", truncated=truncated, source=source)
        # A lower-case first letter means that the image can be shown without the chunk.
        if not name[:1].islower() or (name in _RELEVANT and (name not in _PROFILES or _is_sound(data, position, end))):
            kept.append((position, end))
        position = end
    whole = b"".join(data[start:end] for start, end in _joined(kept))
    return whole + _END if position == len(data) else whole  # a missing IEND is no loss


def png_weight(data: bytes) -> float:
    """Return the cost of a pixel, in ordinary pixels (see `check_pixels`): each byte takes time to unpack."""
    bits, color = data[_SIGNATURE + 16], data[_SIGNATURE + 17]
    return max(1.0, bits * _SAMPLES.get(color, 1) / _ORDINARY_BITS)


def load_png(image: PngImagePlugin.PngImageFile, file: io.BytesIO, *, truncated: Truncated, source: str) -> None:
    """Load an image, and find out whether rows are missing in its file.

    Raises:
        CorruptImageError: Rows are missing and `truncated` is "raise".
    """
    load_rows(image, truncated=truncated, source=source)
    # Missing rows are decoded as 0. A whole image may end with such rows, too, so that the bytes are counted then,
    # which takes as long as decoding. The last two rows are looked at, since the last pass of an interlaced file
    # fills every other row: in an image of odd height, the last but one.
    data, height = file.getvalue(), image.height
    rows = np.asarray(image.crop((0, max(0, height - 2), image.width, height)))
    last_rows_are_filled = rows.reshape(len(rows), -1).any(axis=1).all()
    if not last_rows_are_filled and _inflated_size(data) < _size_of_rows(data):
        report_missing("rows are missing", truncated=truncated, source=source)


def _is_sound(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges with adjacent ones joined, so that a file that is kept whole is copied at once."""
    joined = ranges[:1]
    for start, end in ranges[1:]:
        if start == joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _inflated_size(data: bytes) -> int:
    """Return the number of bytes that the compressed pixels unpack to, in bounded memory."""
    inflater, count, position = zlib.decompressobj(), 0, _SIGNATURE
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            count += unpacked_size(data[position + 8 : position + 8 + length], inflater)
        position += 12 + length
    return count


def _size_of_rows(data: bytes) -> int:
    """Return the number of bytes of all rows, each of which begins with one byte for its filter."""
    header = data[_SIGNATURE + 8 : _SIGNATURE + 21]
    width, height = (int.from_bytes(header[start : start + 4], "big") for start in (0, 4))
    bits = header[8] * _SAMPLES[header[9]]
    passes = _PASSES if header[12] else ((0, 0, 1, 1),)
    count = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            count += rows * (1 + (columns * bits + 7) // 8)
    return count
