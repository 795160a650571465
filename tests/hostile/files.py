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


def png(width: int, height: int, *, bits: int = 8, colour: int = 0, chunks: bytes = b"") -> bytes:
    """Return a PNG whose every value is 0, written without ever holding its pixels."""
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = bytes(1 + (width * bits * samples + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
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


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "1x2000 PNG": (lambda: png(1, 2_000, bits=1), "a vector"),
    "1x65535 PNG": (lambda: png(1, 65_535, bits=1), "a vector"),
    "65535x1 PNG": (lambda: png(65_535, 1, bits=1), "a vector"),
    "2x30000 PNG": (lambda: png(2, 30_000, colour=2), "a vector"),
    "1x65535 PNG, transparent": (lambda: png(1, 65_535, colour=6), "a vector"),
    "1x65535 PNG, 16 bits": (lambda: png(1, 65_535, bits=16), "a vector"),
    "1x65000 JPEG": (lambda: encoded(Image.new("L", (1, 65_000)), "JPEG"), "a vector"),
    "1x16383 WEBP": (lambda: encoded(Image.new("RGB", (1, 16_383)), "WEBP"), "a vector"),
    "13300x13300 grey PNG": (lambda: png(13_300, 13_300), "ImageTooLargeError"),
    "60000x60000 PNG of 1 bit": (lambda: png(60_000, 60_000, bits=1), "ImageTooLargeError"),
    "GIF that claims 65535x65535": (lambda: gif_claiming(65_535, 65_535), "ImageTooLargeError"),
    "BMP that claims 65535x65535": (lambda: bmp_claiming(65_535, 65_535), "ImageTooLargeError"),
    "BMP that claims 9000x9000": (lambda: bmp_claiming(9_000, 9_000), "CorruptImageError"),
    "BLP that claims 16384x10000": (lambda: _blp_claiming(16_384, 10_000), "UnsupportedImageError"),
    "PNG with a text of 100 MB": (lambda: _png_with(b"zTXt"), "CorruptImageError"),
    "PNG with a profile of 100 MB": (lambda: _png_with(b"iCCP"), "CorruptImageError"),
}
"""Files of a few hundred bytes, or kilobytes, that cost others gigabytes: what makes them, and what comes of them."""


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def encoded(image: Image.Image, format_name: str, **options: Any) -> bytes:
    """Return the bytes of the file that Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()
