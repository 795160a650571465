"""JPEG 2000: how deep the samples are, and which channel is which colour."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, Jpeg2KImagePlugin

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.limits import check_parts
from clip_image_encoder.images.truncation import EncodedFile

__all__ = ["Jpeg2000File", "load_jpeg2000", "loaded_jpeg2000"]

_SIGNATURE_BOX = b"\0\0\0\x0cjP  \r\n\x87\n"
_CODESTREAM = b"\xff\x4f\xff\x51"
_SYCC = 18
_COLOUR, _ALPHA, _PREMULTIPLIED = 0, 1, 2

# A tile takes 20 microseconds, a box 2.
_MOST_TILES = 65_536
_MOST_BOXES = 10_000

# openjpeg holds 4 bytes a sample, twice, and takes some 10 ns for it.
_WEIGHTS = {1: 1.5, 2: 3.0, 3: 4.0}
_WEIGHT_OF_MORE = 5.0


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What a JPEG 2000 file says of its samples.

    Attributes:
        depths: bits a sample, of each channel.
        tiles: number of tiles.
        channels: `(channel, type, colour)` as the channel definition box says it; empty without one.
        palette: whether the samples are places in a palette.
        sycc: whether the channels are brightness and colour differences.
    """

    depths: tuple[int, ...]
    tiles: int
    channels: tuple[tuple[int, int, int], ...] = ()
    palette: bool = False
    sycc: bool = False

    def check(self, *, source: str) -> None:
        """Check that Pillow decodes these samples right, or nearly so.

        Raises:
            UnsupportedImageError: colours of more than 8 bits, where Pillow makes black of white
                (it rounds up and keeps the lower 8 bits), or channels in an order that it can't follow.
            ImageTooLargeError: there are more tiles than in any image.
        """
        check_parts(self.tiles, most=_MOST_TILES, parts="tiles", source=source)
        if len(self.depths) > 1 and max(self.depths) > 8:
            raise UnsupportedImageError(
                f"JPEG 2000 in color with {max(self.depths)} bits a sample, which Pillow decodes wrong; "
                "save it with 8 bits, or as PNG or TIFF",
                source=source,
            )
        if self.channels and self.order() is None:
            raise UnsupportedImageError("JPEG 2000 with channels that are no RGB, grey or alpha", source=source)

    def order(self) -> tuple[int, ...] | None:
        """Return which channels are grey or R, G, B, and alpha if there is one, in this order; None if they aren't."""
        colours = {colour: channel for channel, kind, colour in self.channels if kind == _COLOUR}
        alphas = [channel for channel, kind, _ in self.channels if kind in (_ALPHA, _PREMULTIPLIED)]
        order = (*(colours[colour] for colour in sorted(colours)), *alphas[:1])
        straight = order == tuple(range(len(order)))
        known = sorted(colours) in ([1], [1, 2, 3]) and max(order) < len(self.depths)
        return order if known and (straight or not (self.sycc or self.palette)) else None

    def sound(self, image: Image.Image) -> Image.Image:
        """Return a loaded image with its channels in their order, from 0 to 255."""
        if image.mode not in ("L", "LA", "RGB", "RGBA"):
            return image
        bands = [
            band if depth >= 8 else band.point([_spread(value, depth) for value in range(256)])
            for band, depth in zip(image.split(), self.depths, strict=False)
        ]
        order = (self.order() if self.channels else None) or tuple(range(len(bands)))
        if order == tuple(range(len(bands))) and min(self.depths) >= 8 and not self._premultiplied:
            return image
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[len(order)]
        merged = Image.merge(mode, [bands[channel] for channel in order])
        return _unmultiplied(merged) if self._premultiplied else merged

    @property
    def _premultiplied(self) -> bool:
        return any(kind == _PREMULTIPLIED for _, kind, _ in self.channels)


class Jpeg2000File(EncodedFile):
    """A JPEG 2000 in memory whose samples Pillow decodes right.

    Raises:
        UnsupportedImageError: colors of more than 8 bits, or channels that are no color.
        ImageTooLargeError: it has more tiles or boxes than any image.
    """

    def __init__(self, data: bytes, *, source: str) -> None:
        self.header = _read_header(data, source=source)
        if self.header is not None:
            self.header.check(source=source)
        super().__init__(data)

    @property
    def weight(self) -> float:
        """What a pixel costs, in ordinary ones."""
        return _WEIGHT_OF_MORE if self.header is None else _WEIGHTS.get(len(self.header.depths), _WEIGHT_OF_MORE)


def load_jpeg2000(image: Jpeg2KImagePlugin.Jpeg2KImageFile, file: Jpeg2000File) -> Image.Image:
    """Return an image, loaded, its channels in their order."""
    image.load()
    return image if file.header is None else file.header.sound(image)


def _read_header(data: bytes, *, source: str) -> _Header | None:
    """Return what the boxes and the codestream say; None where they can't be followed.

    Raises:
        ImageTooLargeError: there are more boxes than in any file.
    """
    try:
        if data.startswith(_CODESTREAM):
            return _codestream(data, 0)
        return _boxed(data, source=source)
    except (struct.error, IndexError, ZeroDivisionError):
        return None  # cut short; Pillow says so when it opens the file


def loaded_jpeg2000(image: Jpeg2KImagePlugin.Jpeg2KImageFile, *, source: str) -> Image.Image:
    """Return an image that the caller has loaded, its channels in their order.

    Raises:
        UnsupportedImageError: Pillow decodes it wrong, or it can't be told whether it did.
    """
    if len(image.getbands()) == 1:
        return image
    header = None
    path = Path(os.fsdecode(image.filename))
    if image.filename and path.is_file():
        header = _read_header(path.read_bytes(), source=source)
    if header is None:
        raise UnsupportedImageError(
            "a loaded JPEG 2000 in color does not say how deep its samples were; "
            "pass the file, or a copy() if they had 8 bits",
            source=source,
        )
    header.check(source=source)
    return header.sound(image)


def _boxed(data: bytes, *, source: str) -> _Header | None:
    channels: tuple[tuple[int, int, int], ...] = ()
    palette = sycc = False
    boxes = list(_boxes(data, len(_SIGNATURE_BOX), len(data), source=source))
    inner = [box for name, start, end in boxes if name == b"jp2h" for box in _boxes(data, start, end, source=source)]
    for name, start, _ in inner:
        if name == b"cdef":
            (count,) = struct.unpack_from(">H", data, start)
            channels = tuple(struct.unpack_from(">HHH", data, start + 2 + 6 * index) for index in range(count))
        elif name == b"colr" and data[start] == 1:
            sycc = struct.unpack_from(">I", data, start + 3)[0] == _SYCC
        palette = palette or name == b"pclr"
    for name, start, _ in boxes:
        if name == b"jp2c":
            stream = _codestream(data, start)
            return _Header(depths=stream.depths, tiles=stream.tiles, channels=channels, palette=palette, sycc=sycc)
    return None


def _boxes(data: bytes, start: int, end: int, *, source: str) -> Iterator[tuple[bytes, int, int]]:
    """Yield the boxes in a range: the name, and where the content begins and ends."""
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


def _codestream(data: bytes, start: int) -> _Header:
    width, height, _, _, tile_width, tile_height, tile_left, tile_top, count = struct.unpack_from(
        ">8IH", data, start + 8
    )
    tiles = -(-(width - tile_left) // tile_width) * -(-(height - tile_top) // tile_height)
    depths = tuple((data[start + 42 + 3 * channel] & 0x7F) + 1 for channel in range(count))
    return _Header(depths=depths, tiles=tiles)


def _spread(value: int, depth: int) -> int:
    """Return a sample of fewer than 8 bits, which Pillow has only shifted up, on the scale of 0..255."""
    return round((value >> (8 - depth)) * 255 / ((1 << depth) - 1))


def _unmultiplied(image: Image.Image) -> Image.Image:
    """Return an image whose colours were multiplied by its alpha, with its colours as they were."""
    premultiplied = Image.frombytes(f"{image.mode[:-1]}a", image.size, image.tobytes())
    return premultiplied.convert(image.mode)
