"""The primary image of a HEIF file as a file of its own, with the memory that a decoder needs for it.

A decoder that gets the original file also reads the metadata and the other images in it, leaves missing tiles
black, and takes another image where the primary one is damaged. The file that is written here contains one image,
and all parts of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.decoding.heif_items import Item, read_items
from clip_image_encoder.images.decoding.hevc import coded_planes

__all__ = ["primary_alone"]

# A camera's photo of 48 megapixels has about 200 tiles.
_MOST_STEPS = 5_000

# Bytes that shared data may add up to: tiles may share their data, and a decoder reads it once for each tile.
_MOST_DATA = 2**24

# Memory of a pixel, measured with all copies of libheif and Pillow: 7 to 9 bytes for 8 bits, 7 to 16 for more bits.
_BYTES, _BYTES_DEEP = 8, 16

_ALPHA = (b"urn:mpeg:hevc:2015:auxid:1\0", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0")
_PROPERTIES = frozenset({b"ispe", b"hvcC", b"colr", b"pixi", b"pasp", b"irot", b"imir", b"clap", b"auxC"})


def primary_alone(data: bytes, *, source: str) -> tuple[bytes, int]:
    """Return a file with the primary image alone, and an estimate of the bytes of memory to decode it.

    Raises:
        UnsupportedImageError: The file has no primary image, or one that is not coded in HEVC.
        Exception: The file is damaged, cut short or made to be expensive; the class depends on where.
    """
    found = read_items(data)
    if found is None:
        raise UnsupportedImageError("a HEIF file without a still image", source=source)
    primary, items = found
    alphas = _alphas(items)
    costs: dict[int, int] = {}
    kinds: dict[bool, tuple[bool, int]] = {}
    total, room = 0, len(data) + _MOST_DATA
    waiting = [(primary, False)]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return _file(primary, {number: items[number] for number in costs}, data), total
        if len(waiting) > _MOST_STEPS:
            break
        number, is_alpha = waiting.pop()
        item, alpha = items[number], alphas.get(number, [])[:1]
        if number not in costs:
            room -= sum(end - start for start, end in item.parts)
            if room < 0:
                raise ValueError("its items share their data too often")
            costs[number], kind = _cost(item, data, source=source)
            # A decoder allocates the whole image with the depth of one tile.
            if kind is not None and kinds.setdefault(is_alpha, kind) != kind:
                raise ValueError("tiles of different depths")
            # Alpha is scaled to the size of its image, and joined to it.
            costs[number] += 2 * len(alpha) * _pixels(item) if alpha else 0
        total += costs[number]
        waiting += [(one, True) for one in alpha]
        waiting += [(one, is_alpha) for one in item.references.get(b"dimg", []) if item.kind != b"hvc1"]
    raise ValueError("made of too many items")


def _alphas(items: dict[int, Item]) -> dict[int, list[int]]:
    alphas: dict[int, list[int]] = {}
    for number, item in items.items():
        if (item.find(b"auxC") or b"")[4:].startswith(_ALPHA):
            for image in item.references.get(b"auxl", []):
                alphas.setdefault(image, []).append(number)
    return alphas


def _cost(item: Item, data: bytes, *, source: str) -> tuple[int, tuple[bool, int] | None]:
    """Return the bytes of memory to decode one item, and for a coded one also whether it is grey and its depth."""
    if item.kind == b"hvc1":
        parts = _data(item, data)
        coded = parts[0] if len(parts) == 1 else memoryview(b"".join(parts))
        pixels, grey, depth = coded_planes(item.find(b"hvcC") or b"", coded)
        return pixels * (_BYTES if depth == 8 else _BYTES_DEEP), (grey, depth)
    if item.kind == b"iovl":  # a canvas on which other images lie
        return _BYTES * _pixels(item), None
    if item.kind in (b"grid", b"iden"):
        return 0, None
    kind = item.kind.decode("latin-1")
    raise UnsupportedImageError(f"a HEIF image of type {kind!r} is not read; save it as JPEG", source=source)


def _pixels(item: Item) -> int:
    _, width, height = struct.unpack(">III", item.find(b"ispe") or b"")
    return int(width * height)


def _data(item: Item, data: bytes) -> list[memoryview]:
    if any(end > len(data) for _, end in item.parts):
        raise ValueError("the data of an item is missing")
    return [memoryview(data)[start:end] for start, end in item.parts]


def _file(primary: int, items: dict[int, Item], data: bytes) -> bytes:
    """Return a HEIF file of these items, numbered anew from 1: the boxes ftyp, meta and mdat, as in `heif_items`."""
    new = {old: number for number, old in enumerate(items, start=1)}
    kept = [[one for one in item.properties if one[0][4:8] in _PROPERTIES or one[1]] for item in items.values()]
    properties = list(dict.fromkeys(box for boxes in kept for box, _ in boxes))
    indices = {box: index for index, box in enumerate(properties, start=1)}
    contents = [_data(item, data) for item in items.values()]
    sizes = [sum(map(len, parts)) for parts in contents]
    associations = b"".join(
        struct.pack(">HB", number, len(boxes))
        + b"".join(struct.pack(">H", indices[box] | essential << 15) for box, essential in boxes)
        for number, boxes in enumerate(kept, start=1)
    )
    entries = [
        _full(b"infe", struct.pack(">HH", new[old], 0), item.kind, b"\0", version=2, flags=old != primary)
        for old, item in items.items()
    ]
    head = _box(b"ftyp", b"heic\0\0\0\0mif1heic")

    def meta(start: int) -> bytes:
        places = b""
        for number, size in enumerate(sizes, start=1):
            places += struct.pack(">HHHII", number, 0, 1, start, size)
            start += size
        return _full(
            b"meta",
            _full(b"hdlr", struct.pack(">I4s13x", 0, b"pict")),
            _full(b"pitm", struct.pack(">H", new[primary])),
            _full(b"iloc", struct.pack(">HH", 0x4400, len(contents)), places),
            _full(b"iinf", struct.pack(">H", len(contents)), *entries),
            _full(b"iref", *_references(items, new)),
            _box(
                b"iprp", _box(b"ipco", *properties), _full(b"ipma", struct.pack(">I", len(kept)), associations, flags=1)
            ),
        )

    boxes = head + meta(len(head) + len(meta(0)) + 8) + struct.pack(">I4s", 8 + sum(sizes), b"mdat")
    return b"".join([boxes, *(part for parts in contents for part in parts)])


def _references(items: dict[int, Item], new: dict[int, int]) -> Iterator[bytes]:
    for old, item in items.items():
        for kind in (b"dimg", b"auxl", b"prem"):
            targets = [new[target] for target in item.references.get(kind, []) if target in new]
            if targets:
                numbers = [new[old], len(targets), *targets]
                yield _box(kind, struct.pack(f">{len(numbers)}H", *numbers))


def _box(kind: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, parts))) + kind + b"".join(parts)


def _full(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)
