"""The header of a JPEG 2000, which describes the samples, parsed before Pillow opens the file.

The codestream is ITU-T T.800 (ISO/IEC 15444-1), annex A, the boxes around it annex I.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.limits import check_parts

__all__ = ["Jpeg2000Header", "read_header"]

_SIGNATURE_BOX = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODESTREAM = b"\xff\x4f\xff\x51"
_SYCC = 18
_COLOR, _ALPHA, _PREMULTIPLIED = 0, 1, 2
_MAPPED = 1

# A tile takes 20 microseconds, a box 2.
_MOST_TILES = 65_536
_MOST_BOXES = 10_000


@dataclass(frozen=True, kw_only=True)
class Jpeg2000Header:
    """Facts about the samples of a JPEG 2000.

    Attributes:
        start: Position of the codestream in the file.
        depths: Bits of a sample, for each channel.
        subsampled: Whether some channels have fewer samples than the image has pixels.
        uneven: Whether at an edge of the image or of a tile a sample covers fewer pixels than elsewhere.
        tiles: Number of tiles.
        channels: `(channel, type, color)` of each entry in the channel definition box (cdef); empty without the box.
        palette: Whether the samples are indices into a palette.
        columns: Columns of the palette that the channels show, in order (cmap); empty without a mapping.
        sycc: Whether the channels are luma and color differences.
    """

    start: int
    depths: tuple[int, ...]
    subsampled: bool
    uneven: bool
    tiles: int
    channels: tuple[tuple[int, int, int], ...] = ()
    palette: bool = False
    columns: tuple[int, ...] = ()
    sycc: bool = False

    def check(self, *, source: str) -> None:
        """Check that Pillow can be made to decode these samples right.

        Raises:
            UnsupportedImageError: Pillow takes a channel for another one, or at another scale.
            ImageTooLargeError: The image has more than 65,536 tiles.
        """
        check_parts(self.tiles, most=_MOST_TILES, parts="tiles", source=source)
        problem = None
        if self.subsampled and (self.uneven or not self.sycc):
            problem = "channels of different sizes"
        elif self.is_deep and (self.sycc or self.palette or len(set(self.depths)) > 1):
            problem = f"color differences, palettes or mixed depths of {max(self.depths)} bits"
        elif self.columns != tuple(range(len(self.columns))):
            problem = "a palette whose columns are not in their order"
        elif self.channels and self.order is None:
            problem = "channels that are not RGB, grey or alpha"
        if problem:
            raise UnsupportedImageError(
                f"JPEG 2000 with {problem}, which Pillow decodes wrong; save it as PNG or TIFF", source=source
            )

    @property
    def is_deep(self) -> bool:
        """Whether samples have more than 8 bits."""
        return max(self.depths, default=0) > 8

    @property
    def is_premultiplied(self) -> bool:
        """Whether the colors were multiplied by the alpha."""
        return any(kind == _PREMULTIPLIED for _, kind, _ in self.channels)

    @property
    def order(self) -> tuple[int, ...] | None:
        """Numbers of the channels for grey or R, G, B, and then alpha if there is one; None if the box tells none."""
        if not self.channels:
            return None
        colors = {max(1, color): channel for channel, kind, color in self.channels if kind == _COLOR}
        alphas = [channel for channel, kind, _ in self.channels if kind in (_ALPHA, _PREMULTIPLIED)]
        order = (*(colors[color] for color in sorted(colors)), *alphas[:1])
        straight = order == tuple(range(len(order)))
        known = sorted(colors) in ([1], [1, 2, 3]) and (self.palette or max(order) < len(self.depths))
        return order if known and (straight or not (self.sycc or self.palette)) else None


def read_header(data: bytes, *, source: str) -> Jpeg2000Header | None:
    """Parse the boxes and the codestream; None if they are damaged or cut short.

    Raises:
        ImageTooLargeError: The file has more than 10,000 boxes in one place.
    """
    try:
        if data.startswith(_CODESTREAM):
            return _codestream(data, 0)
        return _boxed(data, source=source)
    except (struct.error, IndexError, ZeroDivisionError):
        return None  # cut short; Pillow says so when it opens the file


def _boxed(data: bytes, *, source: str) -> Jpeg2000Header | None:
    boxes = list(_boxes(data, len(_SIGNATURE_BOX), len(data), source=source))
    header = next((_codestream(data, start) for name, start, _ in boxes if name == b"jp2c"), None)
    inner = [box for name, start, end in boxes if name == b"jp2h" for box in _boxes(data, start, end, source=source)]
    for name, start, end in inner if header is not None else ():
        assert header is not None
        if name == b"cdef":
            (count,) = struct.unpack_from(">H", data, start)
            channels = tuple(struct.unpack_from(">HHH", data, start + 2 + 6 * index) for index in range(count))
            header = replace(header, channels=channels)
        elif name == b"colr" and data[start] == 1:
            header = replace(header, sycc=struct.unpack_from(">I", data, start + 3)[0] == _SYCC)
        elif name == b"pclr":
            header = replace(header, palette=True)
        elif name == b"cmap":
            mapped = [struct.unpack_from(">HBB", data, place) for place in range(start, end - 3, 4)]
            header = replace(header, columns=tuple(column for _, kind, column in mapped if kind == _MAPPED))
    return header


def _boxes(data: bytes, start: int, end: int, *, source: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes in a range: the name, and the start and end of the content."""
    count = 0
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, start)
        content = start + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, content)
            content += 8
        after = start + length if length else end
        if after < content:
            return
        count += 1
        check_parts(count, most=_MOST_BOXES, parts="boxes", source=source)
        yield name, content, min(after, end)
        start = after


def _codestream(data: bytes, start: int) -> Jpeg2000Header:
    """Parse the SIZ segment (A.5.1), which follows the first marker: sizes first, then three bytes a channel."""
    width, height, left, top, tile_width, tile_height, tile_left, tile_top, count = struct.unpack_from(
        ">8IH", data, start + 8
    )
    tiles = -(-(width - tile_left) // tile_width) * -(-(height - tile_top) // tile_height)
    samples = [tuple(data[place : place + 3]) for place in range(start + 42, start + 42 + 3 * count, 3)]
    return Jpeg2000Header(
        start=start,
        depths=tuple((sample[0] & 0x7F) + 1 for sample in samples),
        subsampled=any(sample[1:] != (1, 1) for sample in samples),
        uneven=any(
            place % sample[1 + axis]
            for sample in samples
            for axis, places in enumerate(((width, left, tile_width, tile_left), (height, top, tile_height, tile_top)))
            for place in places
        ),
        tiles=tiles,
    )
