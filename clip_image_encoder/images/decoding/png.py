"""PNG: chunks that no pixel depends on are left out, and rows that are not there are missed."""

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
_PROFILES = (b"eXIf", b"iCCP")
_RELEVANT = frozenset({b"tRNS", *_PROFILES})

_ORDINARY_BITS = 24

# libpng writes 8 kB a chunk: 100 MB are some 12,000.
_MOST_CHUNKS = 100_000

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""Adam7: the first column and row of each pass, and the steps to the next ones."""


def relevant_chunks(data: bytes, *, truncated: Truncated, source: str) -> bytes:
    """Return a PNG without its texts, times, other frames and whatever else changes no pixel.

    Pillow refuses a file for the wrong checksum of a text. Here only a chunk of the pixels' own can
    spoil it; Exif data or a profile whose checksum is wrong is left out, as libpng does.

    Raises:
        ImageTooLargeError: it is cut into more chunks than any encoder writes.
        CorruptImageError: pixels are spoiled and `truncated` is "raise".
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
            # Pillow does not look, and decodes zeros that stand in the place of what is missing.
            report_missing("the checksum of its pixels is wrong", truncated=truncated, source=source)
        # A small first letter means that the image can be shown without the chunk.
        if not name[:1].islower() or (name in _RELEVANT and (name not in _PROFILES or _is_sound(data, position, end))):
            kept.append((position, end))
        position = end
    whole = b"".join(data[start:end] for start, end in _joined(kept))
    return whole + _END if position == len(data) else whole  # an end that is missing is no loss


def png_weight(data: bytes) -> float:
    """Return what a pixel costs, in ordinary ones: unpacking takes time for each byte of it."""
    bits, colour = data[_SIGNATURE + 16], data[_SIGNATURE + 17]
    return max(1.0, bits * _SAMPLES.get(colour, 1) / _ORDINARY_BITS)


def load_png(image: PngImagePlugin.PngImageFile, file: io.BytesIO, *, truncated: Truncated, source: str) -> None:
    """Load an image, and find out whether rows of its file are missing.

    Raises:
        CorruptImageError: rows are missing and `truncated` is "raise".
    """
    load_rows(image, truncated=truncated, source=source)
    # Rows that were not written are 0, and so are those of many a sound image: counting takes as long as decoding.
    # The last row that an interlaced file brings is the last but one of every other image.
    data, height = file.getvalue(), image.height
    rows = np.asarray(image.crop((0, max(0, height - 2), image.width, height)))
    last_rows_are_filled = rows.reshape(len(rows), -1).any(axis=1).all()
    if not last_rows_are_filled and _inflated_size(data) < _size_of_rows(data):
        report_missing("rows are missing", truncated=truncated, source=source)


def _is_sound(data: bytes, start: int, end: int) -> bool:
    return zlib.crc32(data[start + 4 : end - 4]) == int.from_bytes(data[end - 4 : end], "big")


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges with neighbours made one: a file that is kept whole is not copied in pieces."""
    joined = ranges[:1]
    for start, end in ranges[1:]:
        if start == joined[-1][1]:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined


def _inflated_size(data: bytes) -> int:
    """Return the number of bytes that the compressed pixels unpack to, without holding them."""
    inflater, count, position = zlib.decompressobj(), 0, _SIGNATURE
    while position + 8 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        if data[position + 4 : position + 8] == b"IDAT":
            count += unpacked_size(data[position + 8 : position + 8 + length], inflater)
        position += 12 + length
    return count


def _size_of_rows(data: bytes) -> int:
    """Return the number of bytes that all rows take, each with its filter's byte before it."""
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
