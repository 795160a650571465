"""PNG files written chunk by chunk, for what Pillow does not write."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, body: bytes, checksum: int | None = None) -> bytes:
    """Return one chunk, with its own checksum or with the one that is given."""
    checksum = zlib.crc32(name + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def png_of(header: bytes, rows: bytes) -> bytes:
    """Return a file of a header and of rows, each with its filter's byte before it."""
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
