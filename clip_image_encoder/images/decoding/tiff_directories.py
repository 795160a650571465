"""TIFF's directories: which of them holds the full image, read before Pillow reads anything."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.limits import check_parts

__all__ = ["Directory", "Tag", "full_image", "point_to"]

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}

# A raw photo has some ten directories. Only the first few matter here.
_MOST_DIRECTORIES = 64
_MOST_TAGS = 4_096

_COLOUR_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892


class Tag:
    """The numbers of the tags that are read."""

    NEW_SUBFILE_TYPE = 254
    SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    STRIP_OFFSETS = 273
    ROWS_A_STRIP = 278
    STRIP_SIZES = 279
    PLANAR = 284
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_SIZES = 325
    SUB_DIRECTORIES = 330
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    YCBCR_SUBSAMPLING = 530
    DNG_VERSION = 50706


@dataclass(frozen=True, kw_only=True)
class Directory:
    """One image of a TIFF file, by its tags.

    Attributes:
        data: the file.
        offset: place of the directory in it.
        order: "<" or ">", the byte order as `struct` writes it.
        tags: for each tag its type, its number of values, and the place of the first.
        following: place of the next directory; 0 if it is the last.
    """

    data: bytes
    offset: int
    order: str
    tags: dict[int, tuple[int, int, int]]
    following: int

    def count(self, tag: int) -> int:
        """Return how many values a tag has."""
        return self.tags[tag][1] if tag in self.tags else 0

    def values(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag of integers; none if it is not there."""
        kind, count, place = self.tags.get(tag, (0, 0, 0))
        if kind not in _INTEGERS:
            return ()
        return struct.unpack_from(f"{self.order}{count}{_INTEGERS[kind]}", self.data, place)

    def value(self, tag: int, default: int) -> int:
        """Return the first value of a tag."""
        values = self.values(tag)
        return values[0] if values else default

    @property
    def is_full(self) -> bool:
        """Whether it is an image of its own: no smaller version of another, and no mask of one."""
        if Tag.NEW_SUBFILE_TYPE in self.tags:
            return not self.value(Tag.NEW_SUBFILE_TYPE, 0) & 0b101
        return self.value(Tag.SUBFILE_TYPE, 1) != 2

    @property
    def is_raw(self) -> bool:
        """Whether its samples are what a camera's sensor saw."""
        return self.value(Tag.PHOTOMETRIC, 0) in (_COLOUR_FILTER_ARRAY, _LINEAR_RAW)


def full_image(data: bytes, *, source: str) -> Directory | None:
    """Return the first full image of a TIFF file; None where the directories can't be followed.

    Cameras' raw formats and some scanners write a thumbnail in the first directory, and the image in
    one that the first points to, or in the next.

    Raises:
        UnsupportedImageError: it is a raw photo, or holds nothing but small versions of an image.
        ImageTooLargeError: it has more directories or tags than any image.
    """
    try:
        directories = _directories(data, source=source)
    except (struct.error, KeyError):
        return None  # cut short; Pillow says so when it opens the file
    if not directories:
        return None
    first = directories[0]
    full = next((directory for directory in directories if directory.is_full), None)
    if data[8:10] == b"CR" or Tag.DNG_VERSION in first.tags or (full is not None and full.is_raw):
        raise UnsupportedImageError(
            "a camera's raw photo (such as DNG, NEF or CR2); develop it, or pass the JPEG that the camera wrote",
            source=source,
        )
    if full is None:
        raise UnsupportedImageError(
            "a TIFF with nothing but a preview of an image, as some raw photos are; develop it, "
            "or open it with PIL and pass a copy() if the preview is meant",
            source=source,
        )
    return full


def point_to(directory: Directory) -> bytes:
    """Return the file with that directory as its first: the same file if it is the first already."""
    data, order = directory.data, directory.order
    if directory.offset == _first_offset(data, order):
        return data
    if _is_big(data, order):
        return data[:8] + struct.pack(f"{order}Q", directory.offset) + data[16:]
    return data[:4] + struct.pack(f"{order}I", directory.offset) + data[8:]


def _directories(data: bytes, *, source: str) -> list[Directory]:
    """Return the first directory, those that it points to, and the next ones with theirs."""
    order = {b"II": "<", b"MM": ">"}[data[:2]]
    found: list[Directory] = []
    waiting = [_first_offset(data, order)]
    seen: set[int] = set()
    while waiting and (offset := waiting.pop(0)):
        if offset in seen:
            continue
        seen.add(offset)
        check_parts(len(seen), most=_MOST_DIRECTORIES, parts="directories", source=source)
        try:
            directory = _directory(data, order, offset, source=source)
        except struct.error:
            if not found:
                raise
            continue  # what lies behind the first image may be cut off
        found.append(directory)
        if found[0].is_full:
            break
        waiting = [*directory.values(Tag.SUB_DIRECTORIES)[:_MOST_DIRECTORIES], *waiting, directory.following]
    return found


def _directory(data: bytes, order: str, offset: int, *, source: str) -> Directory:
    big = _is_big(data, order)
    (count,) = struct.unpack_from(f"{order}{'Q' if big else 'H'}", data, offset)
    check_parts(count, most=_MOST_TAGS, parts="tags", source=source)
    start, entry, inline = (offset + 8, 20, 8) if big else (offset + 2, 12, 4)
    word = "Q" if big else "I"
    tags: dict[int, tuple[int, int, int]] = {}
    for place in range(start, start + count * entry, entry):
        tag, kind, values = struct.unpack_from(f"{order}HH{word}", data, place)
        at = place + entry - inline
        if _SIZES.get(kind, 1) * values > inline:
            (at,) = struct.unpack_from(f"{order}{word}", data, at)
        tags[tag] = kind, values, at
    (following,) = struct.unpack_from(f"{order}{word}", data, start + count * entry)
    return Directory(data=data, offset=offset, order=order, tags=tags, following=following)


def _is_big(data: bytes, order: str) -> bool:
    return data[2:4] == struct.pack(f"{order}H", 43)


def _first_offset(data: bytes, order: str) -> int:
    kind, place = ("Q", 8) if _is_big(data, order) else ("I", 4)
    return int(struct.unpack_from(f"{order}{kind}", data, place)[0])
