"""The directories of a TIFF, one for each image in it, parsed before Pillow opens the file.

The layout is that of TIFF 6.0, and that of BigTIFF, in which positions have 64 bits:

    header      byte order, version, position of the first directory
    directory   number of entries, entries, position of the next directory
    entry       tag, type, number of values, the values themselves or their position
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.formats import raw_photo_refused
from clip_image_encoder.images.limits import check_parts

__all__ = ["Directory", "Tag", "full_image", "is_raw_tiff", "point_to"]

# Bytes of a value, and the `struct` format of integers, by the type in an entry.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_INTEGERS = {1: "B", 3: "H", 4: "I", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}

# A raw photo has about ten directories.
_MOST_DIRECTORIES = 64
_MOST_TAGS = 4_096

_COLOR_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892


class Tag:
    """Numbers of the tags that are read."""

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
    COLOR_MAP = 320
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
        data: Content of the whole file.
        offset: Position of the directory in the file.
        order: Byte order as `struct` writes it, "<" or ">".
        tags: Type, number of values, and position of the first value, by the number of the tag.
        following: Position of the next directory; 0 if this is the last.
    """

    data: bytes
    offset: int
    order: str
    tags: dict[int, tuple[int, int, int]]
    following: int

    def count(self, tag: int) -> int:
        """Return the number of values of a tag; 0 if the directory lacks it."""
        return self.tags[tag][1] if tag in self.tags else 0

    def values(self, tag: int) -> tuple[int, ...]:
        """Return the values of a tag of integers; empty if the directory lacks it."""
        kind, count, place = self.tags.get(tag, (0, 0, 0))
        if kind not in _INTEGERS:
            return ()
        return struct.unpack_from(f"{self.order}{count}{_INTEGERS[kind]}", self.data, place)

    def value(self, tag: int, default: int) -> int:
        """Return the first value of a tag of integers, or the default if the directory lacks it."""
        values = self.values(tag)
        return values[0] if values else default

    @property
    def is_full(self) -> bool:
        """Whether this is a full image, and not a smaller version or a mask of another one."""
        if Tag.NEW_SUBFILE_TYPE in self.tags:
            return not self.value(Tag.NEW_SUBFILE_TYPE, 0) & 0b101
        return self.value(Tag.SUBFILE_TYPE, 1) != 2

    @property
    def is_raw(self) -> bool:
        """Whether the samples are those of a camera's sensor."""
        return self.value(Tag.PHOTOMETRIC, 0) in (_COLOR_FILTER_ARRAY, _LINEAR_RAW)


def full_image(data: bytes, *, source: str) -> Directory | None:
    """Return the first full image of a TIFF; None if the directories are damaged or cut short.

    Cameras' raw formats and some scanners write a thumbnail in the first directory, and the image in a
    directory that the first one points to, or in the next.

    Raises:
        UnsupportedImageError: The file is a raw photo, or contains only small versions of an image.
        ImageTooLargeError: The file has more than 64 directories, or one of more than 4,096 tags.
    """
    directories = _directories_if_whole(data, source=source)
    if not directories:
        return None  # cut short; Pillow says so when it opens the file
    full = _full_one(directories)
    if _are_of_a_raw_photo(directories):
        raise raw_photo_refused(source)
    if full is None:
        raise UnsupportedImageError(
            "a TIFF with nothing but a preview of an image, as some raw photos are; develop it, "
            "or open it with PIL and pass a copy() if the preview is meant",
            source=source,
        )
    return full


def is_raw_tiff(data: bytes, *, source: str) -> bool:
    """Tell whether a TIFF is a raw photo, or has only previews, as some raw photos do.

    Raises:
        ImageTooLargeError: The file has more than 64 directories, or one of more than 4,096 tags.
    """
    directories = _directories_if_whole(data, source=source)
    try:
        return bool(directories) and (_are_of_a_raw_photo(directories) or _full_one(directories) is None)
    except struct.error:
        return False  # a tag's values lie beyond the end; Pillow says so when it opens the file


def point_to(directory: Directory) -> bytes:
    """Return the file with this directory as its first; it is the same object if it is the first already."""
    data, order = directory.data, directory.order
    if directory.offset == _first_offset(data, order):
        return data
    if _is_big(data, order):
        return data[:8] + struct.pack(f"{order}Q", directory.offset) + data[16:]
    return data[:4] + struct.pack(f"{order}I", directory.offset) + data[8:]


def _are_of_a_raw_photo(directories: list[Directory]) -> bool:
    full = _full_one(directories)
    is_canon = directories[0].data[8:10] == b"CR"
    return is_canon or Tag.DNG_VERSION in directories[0].tags or (full is not None and full.is_raw)


def _full_one(directories: list[Directory]) -> Directory | None:
    return next((directory for directory in directories if directory.is_full), None)


def _directories_if_whole(data: bytes, *, source: str) -> list[Directory]:
    """Return the directories of a TIFF; none if they are damaged or cut short."""
    try:
        return _directories(data, source=source)
    except (struct.error, KeyError):
        return []


def _directories(data: bytes, *, source: str) -> list[Directory]:
    """Return the first directory, those that it points to, and then the next ones in the same way."""
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
            continue  # directories after the first may be cut off
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
