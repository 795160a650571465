"""Files written by hand: what no encoder at hand writes, or not in every way."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.promises.decoders.rule import Values

# --- TIFF ---

Tags = dict[int, tuple[str, Sequence[int]]]
"""Tag number to type (B, H, I, Q or s) and values."""

_TYPES = {"B": 1, "s": 2, "H": 3, "I": 4, "Q": 16, "b": 6, "h": 8}


def tiff(*directories: tuple[Tags, bytes], order: str = "<", big: bool = False, sub: bool = False) -> bytes:
    """Return a TIFF with one strip in each directory.

    Args:
        directories: tags (but for where the strip is) and the strip's bytes.
        order: "<" for little-endian, ">" for big-endian.
        big: write a BigTIFF.
        sub: hang all directories but the first under the first, as SubIFDs, instead of in a row.
    """
    word, count = ("Q", "Q") if big else ("I", "H")
    magic = b"II" if order == "<" else b"MM"
    head = struct.pack(order + "HHH", 43, 8, 0) if big else struct.pack(order + "H", 42)
    out = bytearray(magic + head + bytes(8 if big else 4))
    places: list[int] = []
    blocks: list[int] = []  # where each directory's link to the next lies
    hook = 0  # where the first directory lists its SubIFDs
    for index, (tags, strip) in enumerate(directories):
        start = len(out)
        out += strip + bytes(-len(strip) % 8)
        entries = dict(tags) | {273: (word, [start]), 279: (word, [len(strip)])}
        if sub and index == 0:
            entries[330] = (word, [0] * (len(directories) - 1))
        packed: list[tuple[int, str, Sequence[int], int | None]] = []
        for number, (kind, values) in sorted(entries.items()):
            data = b"".join(struct.pack(order + ("B" if kind == "s" else kind), value) for value in values)
            place = None
            if len(data) > (8 if big else 4):
                place = len(out)
                out += data + bytes(-len(data) % 8)
            packed.append((number, kind, values, place))
        places.append(len(out))
        out += struct.pack(order + count, len(packed))
        for number, kind, values, place in packed:
            out += struct.pack(order + "HH" + word, number, _TYPES[kind], len(values))
            if number == 330:
                hook = len(out) if place is None else place
            if place is None:
                data = b"".join(struct.pack(order + ("B" if kind == "s" else kind), value) for value in values)
                out += data.ljust(8 if big else 4, b"\0")
            else:
                out += struct.pack(order + word, place)
        blocks.append(len(out))
        out += bytes(8 if big else 4)
    out[8 if big else 4 : 16 if big else 8] = struct.pack(order + word, places[0])
    size = 8 if big else 4
    for index, place in enumerate(places[1:]):
        where = hook + index * size if sub else blocks[index]
        out[where : where + size] = struct.pack(order + word, place)
    return bytes(out)


def tags(
    width: int,
    height: int,
    *,
    bits: Sequence[int],
    photometric: int,
    compression: int = 1,
    subfile: int | None = None,
    **numbers: int,
) -> Tags:
    """Return the tags of a TIFF directory; further ones as `t262=1`."""
    found: Tags = {
        256: ("H", [width]),
        257: ("H", [height]),
        258: ("H", bits),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        277: ("H", [len(bits)]),
        278: ("H", [height]),
    }
    if subfile is not None:
        found[254] = ("I", [subfile])
    for name, number in numbers.items():
        found[int(name[1:])] = ("H", [number])
    return found


def packed(values: Values, bits: int) -> bytes:
    """Return rows of integers of so many bits, the highest bit first, each row ending with a byte."""
    rows = values.reshape(len(values), -1).astype(np.int64)
    bit = (rows[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(bit.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


# --- JPEG 2000 ---


def box(name: bytes, *parts: bytes) -> bytes:
    """Return a JP2 box."""
    data = b"".join(parts)
    return struct.pack(">I", len(data) + 8) + name + data


def jp2(
    codestream: bytes,
    *,
    channels: int,
    bits: int,
    size: tuple[int, int],
    color_space: int = 16,
    definitions: Sequence[tuple[int, int, int]] = (),
    boxes: bytes = b"",
) -> bytes:
    """Return a JP2 around a codestream.

    Args:
        codestream: as an encoder wrote it.
        channels: components in it.
        bits: of each component.
        size: (height, width).
        color_space: 16 is sRGB, 17 grey, 18 YCC.
        definitions: (channel, type, association) of the channel definition box; none, no box.
        boxes: further boxes of the header.
    """
    header = box(b"ihdr", struct.pack(">IIHBBBB", *size, channels, bits - 1, 7, 0, 0))
    header += box(b"colr", struct.pack(">BBBI", 1, 0, 0, color_space)) + boxes
    if definitions:
        entries = b"".join(struct.pack(">HHH", *entry) for entry in definitions)
        header += box(b"cdef", struct.pack(">H", len(definitions)), entries)
    return b"".join(
        [
            box(b"jP  ", b"\r\n\x87\n"),
            box(b"ftyp", b"jp2 ", bytes(4), b"jp2 "),
            box(b"jp2h", header),
            box(b"jp2c", codestream),
        ]
    )


# --- GIF ---


def gif_frame(
    indices: Values,
    *,
    left: int = 0,
    top: int = 0,
    transparent: int | None = None,
    disposal: int = 0,
    interlaced: bool = False,
    palette: Values | None = None,
) -> bytes:
    """Return a frame of a GIF, its pixels packed without any compression."""
    height, width = indices.shape
    if interlaced:
        order = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
        indices = indices[order]
    flags = disposal << 2 | (transparent is not None)
    control = b"\x21\xf9\x04" + struct.pack("<BHB", flags, 5, transparent or 0) + b"\0"
    local = 0 if palette is None else 0x80 | (len(palette).bit_length() - 2)
    place = b"\x2c" + struct.pack("<HHHHB", left, top, width, height, local | (0x40 if interlaced else 0))
    codes: list[int] = []
    for start in range(0, indices.size, 100):  # a clear code before the codes would grow to 9 bits
        codes += [128, *indices.reshape(-1)[start : start + 100].tolist()]
    bits = (np.array([*codes, 129])[:, None] >> np.arange(8)) & 1
    stream = np.packbits(bits.reshape(-1).astype(np.uint8), bitorder="little").tobytes()
    blocks = b"".join(bytes([len(stream[at : at + 255])]) + stream[at : at + 255] for at in range(0, len(stream), 255))
    colors = b"" if palette is None else palette.astype(np.uint8).tobytes()
    return control + place + colors + b"\x07" + blocks + b"\0"


def gif(size: tuple[int, int], palette: Values, *frames: bytes, background: int = 0) -> bytes:
    """Return a GIF; size is (height, width) of its canvas."""
    screen = struct.pack("<HHBBB", size[1], size[0], 0x80 | (len(palette).bit_length() - 2), background, 0)
    return b"GIF89a" + screen + palette.astype(np.uint8).tobytes() + b"".join(frames) + b"\x3b"


# --- PNG ---


def png_chunk(name: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    samples: Values, *, depth: int, color_type: int, chunks: Sequence[tuple[bytes, bytes]] = (), size: Any = None
) -> bytes:
    """Return a PNG of integers `(H, W)` or `(H, W, C)`, at any depth, with chunks such as tRNS before its pixels.

    Args:
        samples: the values as they are in the file.
        depth: bits of each.
        color_type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA.
        chunks: names and data.
        size: (height, width) that the header says; None is that of the samples.
    """
    height, width = size or samples.shape[:2]
    row = len(packed(samples[:1], depth))
    data = packed(samples, depth)
    pixels = zlib.compress(b"".join(b"\0" + data[at : at + row] for at in range(0, len(data), row)))
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


# --- BMP ---


def bmp(
    pixels: bytes,
    size: tuple[int, int],
    *,
    bits: int,
    header: int = 40,
    masks: Sequence[int] = (),
    top_down: bool = False,
) -> bytes:
    """Return a BMP of 16 or 32 bits.

    Args:
        pixels: rows as they are in the file, from the bottom up unless `top_down`.
        size: (height, width).
        bits: 16 or 32.
        header: its size: 40 is BITMAPINFOHEADER, 108 V4, 124 V5.
        masks: of red, green, blue and alpha, or none.
        top_down: the first row is the upper one.
    """
    height, width = size
    info = struct.pack(
        "<IiiHHIIiiII",
        *(header, width, -height if top_down else height, 1, bits),
        *(3 if masks else 0, len(pixels), 2835, 2835, 0, 0),
    )
    kept = b"".join(struct.pack("<I", mask) for mask in masks)
    info = (info + kept).ljust(header, b"\0") if header > 40 else info + kept
    if header > 40:
        info = info[:56] + b"BGRs" + info[60:]
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + pixels
