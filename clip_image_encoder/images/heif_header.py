"""What a HEIF file will cost, read from its boxes before a decoder sees it.

    ftyp  meta                                              mdat
          ├─ pitm        the primary item                   the items' coded data
          ├─ iinf        the type of each item
          ├─ iloc        where the data of each item lies
          ├─ iref        what an item is made of (dimg), belongs to (auxl) or describes (cdsc)
          └─ iprp ipco   properties: size (ispe), decoder's settings (hvcC), what it is auxiliary for (auxC)
                  ipma   which item has which

libheif answers what is missing or damaged in a tile with black, and lets any number of items share the
same data; so the whole file is looked through here. The layout is ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.hevc import size_and_depth

__all__ = ["bytes_to_decode"]

# Each far beyond what cameras write: a photo of 48 megapixels has some 250 items.
_MOST_BOXES = 10_000
_MOST_STEPS = 5_000
_SLACK = 2**24

_ONCE = frozenset({b"meta", b"pitm", b"iinf", b"iloc", b"iref", b"iprp", b"idat"})

# Measured, with all of libheif's copies and Pillow's: 7 to 9 bytes a pixel of 8 bits, 7 to 16 of a deeper one.
_BYTES, _BYTES_DEEP = 8, 16

_ALPHA = (b"urn:mpeg:hevc:2015:auxid:1\0", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")


@dataclass
class _Item:
    kind: bytes = b""
    extents: list[tuple[int, int]] = field(default_factory=list)
    properties: list[tuple[bytes, bytes]] = field(default_factory=list)
    made_of: list[int] = field(default_factory=list)
    alpha: list[int] = field(default_factory=list)

    def property(self, kind: bytes) -> bytes:
        found = [body for name, body in self.properties if name == kind]
        if len(found) != 1:
            raise ValueError(f"{len(found)} properties {kind!r} of an item")
        return found[0]


class _Reader:
    """Big-endian numbers from a part of the data, one after the other."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.at, self.end = data, start, end

    def number(self, size: int) -> int:
        self.at += size
        if self.at > self.end:
            raise ValueError("a box ends too early")
        return int.from_bytes(self.data[self.at - size : self.at], "big")

    def boxes(self) -> Iterator[tuple[bytes, _Reader]]:
        for _ in range(_MOST_BOXES):
            if self.at >= self.end:
                return
            start = self.at
            size, kind = self.number(4), self.number(4).to_bytes(4, "big")
            if size == 1:
                size = self.number(8)
            end = start + size if size else self.end
            if not self.at <= end <= self.end:
                raise ValueError("a box is larger than what holds it")
            yield kind, _Reader(self.data, self.at, end)
            self.at = end
        raise ValueError("too many boxes")

    def rest(self) -> bytes:
        return self.data[self.at : self.end]


def bytes_to_decode(data: bytes, *, source: str) -> int:
    """Return about how many bytes of memory the primary picture takes to decode, with its tiles and its alpha.

    Raises:
        UnsupportedImageError: the picture is not coded in HEVC.
        Exception: the file is damaged, cut short, or made to be expensive.
    """
    boxes = _by_kind(_Reader(data, 0, len(data)))
    if b"meta" not in boxes and b"moov" in boxes:
        raise UnsupportedImageError("a HEIF sequence without a still picture", source=source)
    primary, items = _read_meta(boxes[b"meta"])
    total = 0
    waiting = [primary]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return total
        item = items[waiting.pop()]
        if item.kind == b"hvc1":
            pixels, depth = size_and_depth(item.property(b"hvcC"), _data_of(data, item))
            total += pixels * (_BYTES if depth == 8 else _BYTES_DEEP)
        elif item.kind == b"iovl":  # a canvas for other pictures
            total += _BYTES * _pixels_of(item)
        elif item.kind not in (b"grid", b"iden"):
            kind = item.kind.decode("latin-1")
            raise UnsupportedImageError(f"a HEIF picture of type {kind!r} is not read; save it as JPEG", source=source)
        # Alpha is scaled to the size of its picture, and joined to it.
        total += 2 * len(item.alpha) * _pixels_of(item) if item.alpha else 0
        waiting += item.made_of + item.alpha
    raise ValueError("made of too many items")


def _read_meta(meta: _Reader) -> tuple[int, dict[int, _Item]]:
    meta.number(4)
    boxes = _by_kind(meta)
    primary = _full(boxes[b"pitm"], short=0)
    items: dict[int, _Item] = {}
    _read_types(boxes[b"iinf"], items)
    idat = boxes.get(b"idat")
    _read_places(boxes[b"iloc"], items, idat)
    _read_properties(boxes[b"iprp"], items)
    copied = sum(len(body) for item in items.values() for _, body in item.properties)
    if b"iref" in boxes:
        copied += _read_references(boxes[b"iref"], items)
    if copied > len(meta.data) + _SLACK:
        raise ValueError("its metadata is shared out too often")
    if sum(size for item in items.values() if item.kind == b"hvc1" for _, size in item.extents) > (
        len(meta.data) + _SLACK
    ):
        raise ValueError("its items lie over each other")
    return primary, items


def _by_kind(reader: _Reader) -> dict[bytes, _Reader]:
    boxes: dict[bytes, _Reader] = {}
    for kind, box in reader.boxes():
        # Of two, libheif may take the other one.
        if kind in boxes and kind in _ONCE:
            raise ValueError(f"two boxes {kind!r}")
        boxes[kind] = box
    return boxes


def _full(reader: _Reader, *, short: int) -> int:
    """Return an item's number, of 2 bytes up to version `short` of the box and of 4 beyond."""
    version = reader.number(1)
    reader.number(3)
    return reader.number(2 if version <= short else 4)


def _read_types(iinf: _Reader, items: dict[int, _Item]) -> None:
    _full(iinf, short=0)
    for kind, infe in iinf.boxes():
        if kind != b"infe":
            continue
        number = _full(infe, short=2)
        infe.number(2)
        if number in items:
            raise ValueError("two items of one number")
        items[number] = _Item(infe.number(4).to_bytes(4, "big"))


def _read_places(iloc: _Reader, items: dict[int, _Item], idat: _Reader | None) -> None:
    version = iloc.number(1)
    iloc.number(3)
    sizes = iloc.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    for _ in range(iloc.number(2 if version < 2 else 4)):
        item = items.get(iloc.number(2 if version < 2 else 4), _Item())
        method = iloc.number(2) & 15 if version else 0
        iloc.number(2)
        base = iloc.number(base_size)
        if item.extents:
            raise ValueError("an item in two places")
        for _ in range(iloc.number(2)):
            if version:
                iloc.number(index_size)
            start, size = base + iloc.number(offset_size), iloc.number(length_size)
            if method == 1 and idat is not None:
                start += idat.at
            elif method:
                raise ValueError("data of an item within another item")
            item.extents.append((start, size))


def _read_properties(iprp: _Reader, items: dict[int, _Item]) -> None:
    properties: list[tuple[bytes, bytes]] = []
    for kind, box in iprp.boxes():
        if kind == b"ipco":
            if properties:
                raise ValueError("two boxes of properties")
            properties = [(name, body.rest()) for name, body in box.boxes()]
        elif kind == b"ipma":
            version, flags = box.number(1), box.number(3)
            for _ in range(box.number(4)):
                item = items.get(box.number(4 if version else 2), _Item())
                for _ in range(box.number(1)):
                    index = box.number(2) & 0x7FFF if flags & 1 else box.number(1) & 0x7F
                    if index:
                        item.properties.append(properties[index - 1])


def _read_references(iref: _Reader, items: dict[int, _Item]) -> int:
    """Give each item what it is made of and its alpha; return the bytes of metadata, once for each item described."""
    size = 4 if iref.number(1) else 2
    iref.number(3)
    described = 0
    for kind, reader in iref.boxes():
        number = reader.number(size)
        targets = [reader.number(size) for _ in range(reader.number(2))]
        item = items[number]
        if kind == b"dimg":
            item.made_of += targets
        elif kind == b"auxl" and _is_alpha(item):
            for target in targets:
                items[target].alpha.append(number)
        elif kind == b"cdsc":
            described += len(targets) * sum(length for _, length in item.extents)
    return described


def _is_alpha(item: _Item) -> bool:
    return any(name == b"auxC" and body[4:].startswith(_ALPHA) for name, body in item.properties)


def _pixels_of(item: _Item) -> int:
    ispe = item.property(b"ispe")
    if len(ispe) != 12:
        raise ValueError("an item without a size")
    return int.from_bytes(ispe[4:8], "big") * int.from_bytes(ispe[8:], "big")


def _data_of(data: bytes, item: _Item) -> bytes:
    if not item.extents or any(start + size > len(data) for start, size in item.extents):
        raise ValueError("the data of an item is missing")
    return b"".join(data[start : start + size] for start, size in item.extents)
