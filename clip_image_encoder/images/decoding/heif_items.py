"""The items of a HEIF file (images, tiles, metadata), read from its boxes.

    ftyp  meta                                              mdat
          ├─ pitm        the primary item                   the items' coded data
          ├─ iinf        the type of each item
          ├─ iloc        where the data of each item lies
          ├─ idat        data of small items
          ├─ iref        what an item is made of (dimg), or auxiliary for (auxl)
          └─ iprp ipco   properties: size (ispe), decoder's settings (hvcC), rotation (irot), ...
                  ipma   which item has which, and whether a reader must know it

The layout is ISO/IEC 14496-12 and 23008-12.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Item", "read_items"]

# A camera's photo of 48 megapixels has 250 items, in tables of some kilobytes.
_MOST_BOXES = 10_000
_LARGEST_TABLE = 2**20


@dataclass
class Item:
    """One item of a file.

    Attributes:
        kind: Type of the item, four bytes: hvc1, grid, Exif and so on.
        parts: Start and end of each part of the item's data, as positions in the file.
        properties: Boxes of the item's properties, in their order, each with whether it is essential.
        references: Numbers of the items that it refers to, by the type of the reference.
    """

    kind: bytes
    parts: list[tuple[int, int]] = field(default_factory=list)
    properties: list[tuple[bytes, bool]] = field(default_factory=list)
    references: dict[bytes, list[int]] = field(default_factory=dict)

    def find(self, kind: bytes) -> bytes | None:
        """Return the content of the first property of this type; None if the item has none."""
        return next((box[8:] for box, _ in self.properties if box[4:8] == kind), None)


def read_items(data: bytes) -> tuple[int, dict[int, Item]] | None:
    """Return the number of the primary item, and all items by their numbers; None for a file without a meta box.

    Raises:
        Exception: The boxes are damaged or cut short; the class depends on where.
    """
    meta = dict(_Reader(data, 0, len(data)).boxes()).get(b"meta")
    if meta is None:
        return None
    meta.number(4)
    boxes = dict(meta.boxes())
    items: dict[int, Item] = {}
    _read_types(boxes[b"iinf"].table(), items)
    _read_places(boxes[b"iloc"].table(), items, boxes.get(b"idat"))
    _read_properties(boxes[b"iprp"], items)
    if b"iref" in boxes:
        _read_references(boxes[b"iref"].table(), items)
    pitm = boxes[b"pitm"]
    return pitm.number(4 if pitm.version() else 2), items


class _Reader:
    """Reads big-endian numbers and boxes from a range of the data, one after the other."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        self.data, self.at, self.end = data, start, end

    def number(self, size: int) -> int:
        self.at += size
        if self.at > self.end:
            raise ValueError("a box ends too early")
        return int.from_bytes(self.data[self.at - size : self.at], "big")

    def version(self) -> int:
        return self.number(4) >> 24

    def table(self) -> _Reader:
        if self.end - self.at > _LARGEST_TABLE:
            raise ValueError("a table is too long")
        return self

    def boxes(self) -> Iterator[tuple[bytes, _Reader]]:
        for _ in range(_MOST_BOXES):
            if self.at >= self.end:
                return
            start = self.at
            size, kind = self.number(4), self.number(4).to_bytes(4, "big")
            if size == 1:
                size = self.number(8)
            end = start + size if size else self.end
            # The box of the data may be cut short; `heif_primary` checks the parts that it needs.
            if end < self.at or (end > self.end and kind != b"mdat"):
                raise ValueError("a box is larger than what holds it")
            yield kind, _Reader(self.data, self.at, end)
            self.at = end
        raise ValueError("too many boxes")


def _read_types(iinf: _Reader, items: dict[int, Item]) -> None:
    iinf.number(4 if iinf.version() else 2)
    for _, infe in iinf.boxes():
        number = infe.number(2 if infe.version() < 3 else 4)
        infe.number(2)
        items[number] = Item(infe.number(4).to_bytes(4, "big"))


def _read_places(iloc: _Reader, items: dict[int, Item], idat: _Reader | None) -> None:
    version, sizes = iloc.version(), iloc.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 2 if version < 2 else 4
    for _ in range(iloc.number(wide)):
        number = iloc.number(wide)
        method = iloc.number(2) & 15 if version else 0
        iloc.number(2)
        base = iloc.number(base_size)
        parts = []
        for _ in range(iloc.number(2)):
            iloc.number(index_size if version else 0)
            start, size = base + iloc.number(offset_size), iloc.number(length_size)
            parts.append((start, start + size))
        if method == 1 and idat is not None:
            parts = [(idat.at + start, idat.at + end) for start, end in parts]
        if number in items and method in (0, 1):
            items[number].parts = parts


def _read_properties(iprp: _Reader, items: dict[int, Item]) -> None:
    properties: list[bytes] = []
    for kind, box in iprp.boxes():
        if kind == b"ipco":
            properties = [
                (8 + inner.end - inner.at).to_bytes(4, "big") + name + inner.data[inner.at : inner.end]
                for name, inner in box.boxes()
            ]
        elif kind == b"ipma":
            head = box.table().number(4)
            wide, long = 4 if head >> 24 else 2, head & 1
            for _ in range(box.number(4)):
                item = items.get(box.number(wide), Item(b""))
                for _ in range(box.number(1)):
                    index = box.number(2) if long else box.number(1) << 8
                    essential, index = bool(index & 0x8000), index & 0x7FFF if long else index >> 8 & 0x7F
                    if index:
                        item.properties.append((properties[index - 1], essential))


def _read_references(iref: _Reader, items: dict[int, Item]) -> None:
    wide = 4 if iref.version() else 2
    for kind, box in iref.boxes():
        item = items.get(box.number(wide), Item(b""))
        item.references.setdefault(kind, []).extend(box.number(wide) for _ in range(box.number(2)))
