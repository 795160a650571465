"""Files that strangers send: small bombs, lying headers, disguises, every format cut and bent."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from PIL import Image

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"

FORMATS = (
    *("AVIF", "BLP", "BMP", "DDS", "DIB", "EPS", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "MSP"),
    *("PALM", "PCX", "PDF", "PNG", "PPM", "QOI", "SGI", "SPIDER", "TGA", "TIFF", "WEBP", "XBM"),
)
"""The formats that Pillow writes."""

_MODES = {"MSP": "1", "XBM": "1", "PALM": "1", "SPIDER": "F", "BLP": "P"}


def every_format() -> dict[str, bytes]:
    """Return a sound file of each format that Pillow writes, and of each way in which the common ones are written."""
    picture = Image.merge("RGB", [Image.effect_noise((31, 22), spread) for spread in (20, 60, 100)])
    files = {name: encoded(picture.convert(_MODES.get(name, "RGB")), name) for name in FORMATS}
    for mode in ("1", "L", "P", "LA", "RGBA", "I;16"):
        files[f"PNG {mode}"] = encoded(picture.convert("L" if mode == "I;16" else mode).convert(mode), "PNG")
    for mode in ("L", "CMYK"):
        files[f"JPEG {mode}"] = encoded(picture.convert(mode), "JPEG")
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        files[f"TIFF {compression}"] = encoded(picture, "TIFF", compression=compression)
    files["GIF frames"] = encoded(picture, "GIF", save_all=True, append_images=[picture.rotate(90)])
    files["WEBP lossless"] = encoded(picture, "WEBP", lossless=True)
    files["JPEG progressive"] = encoded(picture, "JPEG", progressive=True)
    return files


def bent(data: bytes, generator: random.Random) -> bytes:
    """Return a file with a few bytes changed, taken out, doubled, or cut off its end."""
    changed = bytearray(data)
    for _ in range(generator.randint(1, 8)):
        place = generator.randrange(min(len(changed), 64) if generator.random() < 0.6 else len(changed))
        kind = generator.random()
        if kind < 0.7:
            changed[place] = generator.choice([0, 1, 127, 128, 255, generator.randrange(256)])
        elif kind < 0.8:
            del changed[place : place + generator.randint(1, 8)]
        elif kind < 0.9:
            changed[place:place] = changed[place : place + generator.randint(1, 8)]
        else:
            del changed[max(1, place) :]
        if not changed:
            return b"\0"
    return bytes(changed)


def png(width: int, height: int, *, bits: int = 8, color: int = 0, chunks: bytes = b"") -> bytes:
    """Return a PNG whose every value is 0, written without ever holding its pixels."""
    samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    row = bytes(1 + (width * bits * samples + 7) // 8)
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def gif_claiming(width: int, height: int) -> bytes:
    """Return a GIF of a few bytes that says it is as large as that."""
    size = struct.pack("<HH", width, height)
    return b"GIF89a" + size + b"\x80\0\0\0\0\0\xff\xff\xff" + b",\0\0\0\0" + size + b"\0\x02\x02D\x01\0;"


def bmp_claiming(width: int, height: int) -> bytes:
    """Return a BMP without pixels that says it is as large as that."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header


def _blp_claiming(width: int, height: int) -> bytes:
    return b"BLP2" + struct.pack("<IBBBBII", 1, 1, 0, 0, 0, width, height) + bytes(264)


def _png_with(name: bytes) -> bytes:
    return png(8, 8, chunks=_chunk(name, b"k\0\0" + zlib.compress(bytes(10**8), 9)))


def _png_in_pieces() -> bytes:
    data = png(8, 8)
    return data[:33] + _chunk(b"IDAT", b"") * 200_000 + data[33:]


def _gif(side: int) -> bytes:
    return encoded(Image.new("P", (side, side)), "GIF", transparency=0)


def _gif_of_blocks() -> bytes:
    return gif_claiming(8, 8)[:19] + b"!\xfe" + b"\1x" * 5_000_000 + b"\0" + gif_claiming(8, 8)[19:]


def _webp_claiming(width: int, height: int) -> bytes:
    """Return a lossless WebP of one color, which takes no more bytes the larger it is."""
    data = bytearray(encoded(Image.new("RGBA", (16, 16), (1, 2, 3, 100)), "WEBP", lossless=True))
    start = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[start : start + 4], "little") >> 28 << 28
    data[start : start + 4] = (bits | (height - 1) << 14 | width - 1).to_bytes(4, "little")
    return bytes(data)


def _jpeg_claiming(width: int, height: int, *, mode: str = "RGB", scans: int = 0) -> bytes:
    """Return a progressive JPEG that says it is as large as that, with more scans than it needs."""
    data = encoded(Image.new(mode, (16, 16)), "JPEG", progressive=True, subsampling=0)
    start = data.index(b"\xff\xc2")
    data = data[: start + 5] + struct.pack(">HH", height, width) + data[start + 9 :]
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * scans + data[-2:]


def _jpeg_of_segments() -> bytes:
    return b"\xff\xd8" + b"\xff\xfe\0\2" * 5_000_000 + encoded(Image.new("L", (8, 8)), "JPEG")[2:]


def _jpeg2000(width: int, height: int) -> bytes:
    return encoded(Image.new("RGB", (width, height)), "JPEG2000")


def _jpeg2000_of_tiles() -> bytes:
    """Return a JPEG 2000 that says its tiles are of one pixel each."""
    data = bytearray(encoded(Image.new("L", (500, 500)), "JPEG2000", no_jp2=True))
    start = data.index(b"\xff\x51")
    data[start + 22 : start + 30] = struct.pack(">II", 1, 1)
    return bytes(data)


def _jpeg2000_of_boxes() -> bytes:
    data = _jpeg2000(8, 8)
    return data[:12] + struct.pack(">I4s", 8, b"free") * 5_000_000 + data[12:]


def _bmp_in_runs(side: int) -> bytes:
    """Return a BMP in run lengths whose every row is empty, and filled by Pillow pixel by pixel."""
    palette = bytes(channel for color in range(256) for channel in (color, 0, 255 - color, 0))
    header = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, 0, 0, 0, 256, 0)
    body = b"\1\5\0\0" * side + b"\0\1"
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 54 + len(palette)) + header + palette + body


def _tiff(tags: dict[int, tuple[str, tuple[int, ...]]], body: bytes) -> bytes:
    """Return a little-endian TIFF with these tags, `B`, `H` or `I` and the values; its pixels begin at byte 8."""
    kinds = {"B": 1, "H": 3, "I": 4}
    where = 8 + len(body)
    entries, extra = b"", b""
    after = where + 2 + 12 * len(tags) + 4
    for tag, (kind, values) in sorted(tags.items()):
        packed = struct.pack(f"<{len(values)}{kind}", *values)
        if len(packed) > 4:
            value, extra = struct.pack("<I", after + len(extra)), extra + packed
        else:
            value = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kinds[kind], len(values)) + value
    directory = struct.pack("<H", len(tags)) + entries + bytes(4) + extra
    return b"II*\0" + struct.pack("<I", where) + body + directory


def _plain_tiff(
    width: int, height: int, *, bits: tuple[int, ...], compression: int, body: bytes, kind: int = 1
) -> bytes:
    """Return a TIFF with all its pixels in one strip."""
    photometric = 2 if len(bits) >= 3 else 1
    tags = {
        256: ("I", (width,)), 257: ("I", (height,)), 258: ("H", bits), 259: ("H", (compression,)),
        262: ("H", (photometric,)), 273: ("I", (8,)), 277: ("H", (len(bits),)), 278: ("I", (height,)),
        279: ("I", (len(body),)), 339: ("H", (kind,) * len(bits)),
    }  # fmt: skip
    if len(bits) == 4:
        tags[338] = "H", (2,)
    return _tiff(tags, body)


def _deflated_tiff(side: int, *, bits: tuple[int, ...], kind: int = 1) -> bytes:
    packer = zlib.compressobj(1)
    row = bytes(side * sum(bits) // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return _plain_tiff(side, side, bits=bits, compression=8, body=body, kind=kind)


def _tiff_of_tiles() -> bytes:
    """Return a TIFF in tiles of one pixel."""
    count = 600 * 600
    return _tiff(
        {
            256: ("I", (600,)), 257: ("I", (600,)), 258: ("H", (8,)), 259: ("H", (1,)), 262: ("H", (1,)),
            277: ("H", (1,)), 322: ("I", (1,)), 323: ("I", (1,)), 324: ("I", (8,) * count), 325: ("I", (1,) * count),
        },
        b"\0",
    )  # fmt: skip


def _tiff_of_scans() -> bytes:
    """Return a TIFF whose one strip is a JPEG of many scans."""
    side, scans = 4_000, _jpeg_claiming(4_000, 4_000, mode="L", scans=1_000)
    return _plain_tiff(side, side, bits=(8,), compression=7, body=scans)


def _text_map(side: int) -> bytes:
    return b"P3 %d %d 255\n" % (side, side) + b"1 2 3 " * (side * side)


_PALETTE = b"\x01\x02\x03\xff\x00\x00"
_TOO_LARGE, _VECTOR = "ImageTooLargeError", "a vector"

BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "1x2000 PNG": (lambda: png(1, 2_000, bits=1), _VECTOR),
    "1x65535 PNG": (lambda: png(1, 65_535, bits=1), _VECTOR),
    "65535x1 PNG": (lambda: png(65_535, 1, bits=1), _VECTOR),
    "2x30000 PNG": (lambda: png(2, 30_000, color=2), _VECTOR),
    "1x65535 PNG, transparent": (lambda: png(1, 65_535, color=6), _VECTOR),
    "1x65535 PNG, 16 bits": (lambda: png(1, 65_535, bits=16), _VECTOR),
    "1x65000 JPEG": (lambda: encoded(Image.new("L", (1, 65_000)), "JPEG"), _VECTOR),
    "1x16383 WEBP": (lambda: encoded(Image.new("RGB", (1, 16_383)), "WEBP"), _VECTOR),
    "13300x13300 grey PNG": (lambda: png(13_300, 13_300), _TOO_LARGE),
    "60000x60000 PNG of 1 bit": (lambda: png(60_000, 60_000, bits=1), _TOO_LARGE),
    "8100x8100 PNG, transparent": (lambda: png(8_100, 8_100, color=6), _VECTOR),
    "9450x9450 PNG, transparent palette": (
        lambda: png(9_450, 9_450, bits=1, color=3, chunks=_chunk(b"PLTE", _PALETTE) + _chunk(b"tRNS", b"\0")),
        _VECTOR,
    ),
    "9450x9450 PNG": (lambda: png(9_450, 9_450, color=2), _VECTOR),
    "9450x9450 PNG, 16 bits": (lambda: png(9_450, 9_450, bits=16), _VECTOR),
    "5700x5700 PNG, 16 bits, transparent": (lambda: png(5_700, 5_700, bits=16, color=6), _VECTOR),
    "PNG in 200,000 chunks": (_png_in_pieces, _TOO_LARGE),
    "PNG with a text of 100 MB": (lambda: _png_with(b"zTXt"), _VECTOR),
    "PNG with a profile of 100 MB": (lambda: _png_with(b"iCCP"), "CorruptImageError"),
    "9450x9450 GIF, transparent": (lambda: _gif(9_450), _VECTOR),
    "GIF that claims 65535x65535": (lambda: gif_claiming(65_535, 65_535), _TOO_LARGE),
    "GIF with 5,000,000 blocks": (_gif_of_blocks, _TOO_LARGE),
    "BMP that claims 65535x65535": (lambda: bmp_claiming(65_535, 65_535), _TOO_LARGE),
    "BMP that claims 9000x9000": (lambda: bmp_claiming(9_000, 9_000), "CorruptImageError"),
    "3300x3300 BMP in run lengths": (lambda: _bmp_in_runs(3_300), _VECTOR),
    "9450x9450 WEBP": (lambda: _webp_claiming(9_450, 9_450), _TOO_LARGE),
    "6600x6600 WEBP": (lambda: _webp_claiming(6_600, 6_600), _VECTOR),
    "9450x9450 JPEG in many scans": (lambda: _jpeg_claiming(9_450, 9_450, mode="L", scans=200), _TOO_LARGE),
    "8400x8400 progressive JPEG": (lambda: _jpeg_claiming(8_400, 8_400), "CorruptImageError"),
    "7700x7700 progressive JPEG, CMYK": (lambda: _jpeg_claiming(7_700, 7_700, mode="CMYK"), "CorruptImageError"),
    "1000x1000 JPEG in 1,000 scans": (lambda: _jpeg_claiming(1_000, 1_000, scans=1_000), "CorruptImageError"),
    "JPEG with 5,000,000 segments": (_jpeg_of_segments, _TOO_LARGE),
    "4000x4000 AVIF, transparent": (lambda: encoded(Image.new("RGBA", (4_000, 4_000)), "AVIF", speed=10), _VECTOR),
    "4700x4700 JPEG 2000": (lambda: _jpeg2000(4_700, 4_700), _VECTOR),
    "JPEG 2000 in tiles of 1 pixel": (_jpeg2000_of_tiles, _TOO_LARGE),
    "JPEG 2000 with 5,000,000 boxes": (_jpeg2000_of_boxes, _TOO_LARGE),
    "8100x8100 TIFF of floats": (lambda: _deflated_tiff(8_100, bits=(32,), kind=3), _VECTOR),
    "5700x5700 TIFF, 16 bits, transparent": (lambda: _deflated_tiff(5_700, bits=(16,) * 4), _VECTOR),
    "TIFF in tiles of 1 pixel": (_tiff_of_tiles, _TOO_LARGE),
    "TIFF of a JPEG in 1,000 scans": (_tiff_of_scans, _TOO_LARGE),
    "1180x1180 PPM of text": (lambda: _text_map(1_180), _VECTOR),
    "PPM with a comment of 50 MB": (lambda: b"P6 #" + b"x" * 50_000_000 + b"\n1 1 255 abc", "CorruptImageError"),
    "BLP that claims 16384x10000": (lambda: _blp_claiming(16_384, 10_000), "UnsupportedImageError"),
}
"""Small files that cost others gigabytes or minutes, and the largest of each format that are let in.

Each has what makes it, and what comes of it.
"""


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Return the bytes of the file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()
