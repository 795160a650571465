"""Writes HEIF files box by box, around images that pillow-heif has coded."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from functools import partial

import pillow_heif
from PIL import Image

ALPHA = b"urn:mpeg:hevc:2015:auxid:1"
GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap"


def box(kind: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, parts))) + kind + b"".join(parts)


def full_box(kind: bytes, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def size(width: int, height: int) -> bytes:
    """Return the property that says how large an item is."""
    return full_box(b"ispe", struct.pack(">II", width, height))


def turned(quarters: int) -> bytes:
    """Return the property that turns an item, anticlockwise."""
    return box(b"irot", bytes([quarters]))


def mirrored(axis: int) -> bytes:
    """Return the property that mirrors an item: 0 top and bottom, 1 left and right."""
    return box(b"imir", bytes([axis]))


def cropped(width: int, height: int) -> bytes:
    """Return the property that shows the middle of an item."""
    return box(b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, 0, 1, 0, 1))


@dataclass
class Item:
    """One item of a file: its type, data, properties, and the numbers of the items that it refers to."""

    kind: bytes
    data: bytes
    properties: list[bytes] = field(default_factory=list)
    references: dict[bytes, list[int]] = field(default_factory=dict)
    hidden: bool = False
    place: tuple[int, int] | None = None  # where its data is said to lie, and how much

    def auxiliary_for(self, number: int, purpose: bytes) -> Item:
        self.properties.append(full_box(b"auxC", purpose + b"\0"))
        self.references[b"auxl"] = [number]
        return self


def coded(image: Image.Image, **options: object) -> Item:
    """Return the image in HEVC."""
    return coded_bytes(image.mode, image.size, image.tobytes(), **options)


def coded_bytes(mode: str, extent: tuple[int, int], pixels: bytes, **options: object) -> Item:
    """Return pixels of one of pillow-heif's modes, such as RGB;16, without alpha, in HEVC."""
    data = written(mode, extent, pixels, **options)
    assert size(*extent) in data, "the encoder pads pictures of this size"
    start, length = data.index(b"hvcC") - 4, data.index(b"mdat") + 4
    settings = data[start : start + int.from_bytes(data[start : start + 4], "big")]
    return Item(b"hvc1", data[length:], [settings, size(*extent)])


def written(mode: str, extent: tuple[int, int], pixels: bytes, **options: object) -> bytes:
    """Return the file that pillow-heif itself writes."""
    buffer = io.BytesIO()
    pillow_heif.from_bytes(mode, extent, pixels).save(buffer, **{"quality": 90, **options})
    return buffer.getvalue()


def grid(rows: int, columns: int, width: int, height: int, tiles: list[int]) -> Item:
    """Return the item that puts tiles together."""
    data = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, width, height)
    return Item(b"grid", data, [size(width, height)], {b"dimg": tiles})


def exif(about: int, orientation: int) -> Item:
    """Return EXIF with an orientation."""
    block = Image.Exif()
    block[0x112] = orientation
    return Item(b"Exif", struct.pack(">I", 6) + block.tobytes(), references={b"cdsc": [about]})


def heif_file(*items: Item, primary: int = 1, brands: bytes = b"heic\0\0\0\0mif1heic") -> bytes:
    """Return a file of these items, which count from 1."""
    numbered = list(enumerate(items, start=1))
    properties = list(dict.fromkeys(content for item in items for content in item.properties))
    associations = b"".join(
        struct.pack(">HB", number, len(item.properties))
        + b"".join(struct.pack(">H", 1 + properties.index(content)) for content in item.properties)
        for number, item in numbered
    )
    references = [
        box(kind, struct.pack(">HH", number, len(targets)), *(struct.pack(">H", target) for target in targets))
        for number, item in numbered
        for kind, targets in item.references.items()
    ]
    entries = [
        full_box(b"infe", struct.pack(">HH", number, 0), item.kind, b"\0", version=2, flags=item.hidden)
        for number, item in numbered
    ]

    def meta(start: int) -> bytes:
        places = b""
        for number, item in numbered:
            places += struct.pack(">HHHII", number, 0, 1, *(item.place or (start, len(item.data))))
            start += len(item.data)
        return full_box(
            b"meta",
            full_box(b"hdlr", struct.pack(">I4s13x", 0, b"pict")),
            full_box(b"pitm", struct.pack(">H", primary)),
            full_box(b"iloc", bytes([0x44, 0]), struct.pack(">H", len(items)), places),
            full_box(b"iinf", struct.pack(">H", len(items)), *entries),
            box(
                b"iprp",
                box(b"ipco", *properties),
                full_box(b"ipma", struct.pack(">I", len(items)), associations, flags=1),
            ),
            full_box(b"iref", *references) if references else b"",
        )

    head = box(b"ftyp", brands)
    front = len(head) + len(meta(0)) + 8
    return head + meta(front) + box(b"mdat", *(item.data for item in items))


def parameter_set(width: int, height: int, depth: int = 8) -> bytes:
    """Return a sequence parameter set of HEVC for images of this size and depth."""
    bits = "0" * 7 + "1" + "0" * 96 + "".join(map(_golomb, (0, 1, width, height))) + "0" + _golomb(depth - 8) * 2 + "1"
    bits += "0" * (-len(bits) % 8)
    raw = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\x42\x01" + raw.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")


def decoder_settings(*units: bytes, depth: int = 8) -> bytes:
    """Return the property that sets the decoder up with these units, for 4:2:0 of this depth."""
    head = bytes([1, *[0] * 15, 1, depth - 8, depth - 8, 0, 0, 3, len(units)])
    arrays = b"".join(bytes([unit[0] >> 1]) + struct.pack(">HH", 1, len(unit)) + unit for unit in units)
    return box(b"hvcC", head, arrays)


def _golomb(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


tile = partial(Image.new, "RGB", (64, 64))
