"""Raw photos as cameras write them, made here: the samples of a sensor, a thumbnail and a preview in one TIFF.

directory 1                thumbnail of 16 x 12 pixels, with the camera's name and the orientation
  SubIFD 1                 samples of the sensor behind a mosaic of red, green, green and blue
  SubIFD 2, if asked for   preview, a JPEG
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["jpeg", "raw_photo"]

_WHITE = 4095
_SIZES = {"B": 1, "s": 1, "H": 2, "I": 4, "R": 8, "r": 8}
_KINDS = {"B": 1, "s": 2, "H": 3, "I": 4, "R": 5, "r": 10}


@dataclass(frozen=True)
class _Tag:
    number: int
    kind: str
    values: tuple[int, ...]

    def packed(self) -> bytes:
        if self.kind in "Rr":
            return b"".join(struct.pack("<iI", value, 10_000) for value in self.values)
        return struct.pack(f"<{len(self.values)}{'B' if self.kind == 's' else self.kind}", *self.values)


def raw_photo(
    picture: Image.Image,
    *,
    orientation: int = 1,
    preview: bytes | None = None,
    claimed: tuple[int, int] | None = None,
    stretched: tuple[int, int] = (1, 1),
) -> bytes:
    """Return a DNG of an image as a sensor sees it: one color at each place, in linear light, of 12 bits.

    Args:
        image: Image in RGB, with an even width and height.
        orientation: EXIF orientation that the camera writes.
        preview: A JPEG that the camera has made of the photo; None writes none.
        claimed: Width and height that the tags claim in the place of the true ones.
        stretched: Shape of a pixel, horizontally and vertically, in integers.
    """
    width, height = claimed or picture.size
    samples = _mosaic(picture).tobytes()
    thumbnail = np.asarray(picture.convert("RGB").resize((16, 12))).tobytes()
    blobs = [thumbnail, samples, *([preview] if preview else [])]
    starts = [8 + sum(map(len, blobs[:number])) for number in range(len(blobs))]

    sensor = [
        _Tag(254, "I", (0,)),
        *_image(width, height, bits=(16,), photometric=32803, start=starts[1], size=len(samples)),
        _Tag(33421, "H", (2, 2)),  # the mosaic
        _Tag(33422, "B", (0, 1, 1, 2)),
        _Tag(50714, "H", (0,)),  # black
        _Tag(50717, "I", (_WHITE,)),
        _Tag(50718, "R", tuple(10_000 * each for each in stretched)),
    ]
    below = [sensor]
    if preview:
        size = Image.open(io.BytesIO(preview)).size
        tags = _image(*size, bits=(8, 8, 8), photometric=6, start=starts[2], size=len(preview), compression=7)
        below.append([_Tag(254, "I", (1,)), *tags])
    at = 8 + sum(map(len, blobs))
    offsets, parts = [], []
    for tags in below:
        offsets.append(at)
        parts.append(_directory(tags, at=at))
        at += len(parts[-1])
    first = [
        _Tag(254, "I", (1,)),
        *_image(16, 12, bits=(8, 8, 8), photometric=2, start=starts[0], size=len(thumbnail)),
        _Tag(271, "s", tuple(b"Toy\0")),
        _Tag(272, "s", tuple(b"Camera\0")),
        _Tag(274, "H", (orientation,)),
        _Tag(330, "I", tuple(offsets)),
        _Tag(50706, "B", (1, 4, 0, 0)),
        _Tag(50707, "B", (1, 1, 0, 0)),
        _Tag(50708, "s", tuple(b"Toy Camera\0")),
        # From CIE XYZ to the sensor's colors, which are those of linear sRGB here.
        _Tag(50721, "r", (32406, -15372, -4986, -9689, 18758, 415, 557, -2040, 10570)),
        _Tag(50728, "R", (10_000, 10_000, 10_000)),  # neutral: white light looks white
        _Tag(50778, "H", (21,)),  # of D65
    ]
    return struct.pack("<2sHI", b"II", 42, at) + b"".join([*blobs, *parts, _directory(first, at=at)])


def jpeg(picture: Image.Image, *, orientation: int | None = None) -> bytes:
    """Return an image as a JPEG, with an EXIF orientation if one is given."""
    file = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    picture.save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def _mosaic(picture: Image.Image) -> NDArray[np.uint16]:
    values = np.asarray(picture.convert("RGB"), np.float64) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    mosaic = np.empty(linear.shape[:2], np.uint16)
    for top, left, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[top::2, left::2] = np.rint(linear[top::2, left::2, channel] * _WHITE)
    return mosaic


def _image(
    width: int, height: int, *, bits: tuple[int, ...], photometric: int, start: int, size: int, compression: int = 1
) -> list[_Tag]:
    """Return the tags of an image whose samples lie in one strip."""
    return [
        _Tag(256, "I", (width,)),
        _Tag(257, "I", (height,)),
        _Tag(258, "H", bits),
        _Tag(259, "H", (compression,)),
        _Tag(262, "H", (photometric,)),
        _Tag(273, "I", (start,)),
        _Tag(277, "H", (len(bits),)),
        _Tag(278, "I", (height,)),
        _Tag(279, "I", (size,)),
    ]


def _directory(tags: list[_Tag], *, at: int) -> bytes:
    """Return a directory that stands at this position, followed by the values that are too long for it."""
    tags = sorted(tags, key=lambda tag: tag.number)
    end = at + 2 + 12 * len(tags) + 4
    entries, values = [], b""
    for tag in tags:
        packed = tag.packed()
        entries.append(struct.pack("<HHI", tag.number, _KINDS[tag.kind], len(tag.values)))
        if len(packed) <= 4:
            entries.append(packed.ljust(4, b"\0"))
        else:
            entries.append(struct.pack("<I", end + len(values)))
            values += packed + b"\0" * (len(packed) % 2)
    return struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4) + values
