"""JPEG: the number of scans in a file, and whether they are whole (the layout is ITU-T T.81, annex B)."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, JpegImagePlugin

from clip_image_encoder.images.decoding.truncation import (
    EndingFile,
    FileEndsError,
    Truncated,
    load_rows,
    report_missing,
)
from clip_image_encoder.images.limits import check_parts

__all__ = ["JpegFile", "load_jpeg"]

_START_OF_SCAN, _RESTART_INTERVAL = 0xDA, 0xDD
_END = b"\xff\xd9"
_END_AS_NUMBER = int.from_bytes(_END, "little")
_OF_SEVERAL_IMAGES = b"MPF\0"
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = 0xC2

# Whether a byte after 0xFF makes a marker of it: not 0x00 (a 0xFF inside a scan), a fill byte or a restart.
_IS_MARKER = np.ones(256, bool)
_IS_MARKER[[0x00, 0x01, 0xFF, *range(0xD0, 0xD9)]] = False
_BLOCK = 65_536
_PIECE = 1 << 20

# Bytes that libjpeg gets at a time; Pillow takes Python's lock for each piece, and other threads wait for it.
_GIVEN = 1 << 20

# A scan takes time for each pixel, even for those that it does not change; encoders write 10, for CMYK 18.
_USUAL_SCANS = 16
# Photos have a few dozen segments, a panorama with its metadata in pieces of 64 kB has hundreds.
_MOST_SEGMENTS = 10_000

# libjpeg reads 8 bytes ahead. Zeros after the last scan let it finish a scan that is whole, but no other.
_LOOK_AHEAD = bytes(16)


@dataclass
class _Layout:
    """The parts of a JPEG that tell its cost, and whether it is whole.

    A unit is what T.81 calls an MCU: the blocks of 8 x 8 samples that are coded together.

    Attributes:
        frame: Marker of the frame, such as 0xC0 for baseline; 0 if there is none.
        samples: Number of samples a pixel: 3 for colors in full, 1.5 for colors at half the size.
        scans: Number of scans.
        end: Position of the marker that ends the image, or of the zeros in its place.
        missing: Coefficients of each component, 0..63, that no scan has coded down to the last bit.
        units: Number of units in a scan of one component alone, for each component.
        units_together: Number of units in a scan of several components.
        restart_interval: Number of units between two restarts; 0 if there are none.
        last_scan: Position of the data of the last scan.
        restarts: Number of restarts that the last scan has to have.
    """

    end: int
    frame: int = 0
    samples: float = 1.0
    scans: int = 0
    missing: dict[int, set[int]] = field(default_factory=dict)
    units: dict[int, int] = field(default_factory=dict)
    units_together: int = 1
    restart_interval: int = 0
    last_scan: int = 0
    restarts: int = 0

    @property
    def is_one_scan(self) -> bool:
        """Whether libjpeg makes pixels of the first scan and reads no other."""
        return self.frame != _PROGRESSIVE and self.scans == 1 and not any(self.missing.values())


class JpegFile(io.BytesIO):
    """A JPEG in memory whose scans have been counted; of a file of several images, the first one.

    Raises:
        ImageTooLargeError: The file has more than 10,000 segments.
    """

    def __init__(self, data: bytes, *, source: str) -> None:
        self.layout = _read_layout(data, source=source)
        super().__init__(data)

    @property
    def several_scans(self) -> bool:
        """Whether libjpeg collects the coefficients of all scans before it makes pixels of them."""
        return not self.layout.is_one_scan

    @property
    def weight(self) -> float:
        """Cost of a pixel, in ordinary pixels; several scans keep two bytes a sample beside the pixel itself."""
        if not self.several_scans:
            return 1.0
        pixel = 1 if len(self.layout.missing) == 1 else 4
        return max((2 * self.layout.samples + pixel) / 8, self.layout.scans / _USUAL_SCANS)

    @property
    def lacks_restarts(self) -> bool:
        """Whether the last scan has fewer restarts than its image needs."""
        if not self.layout.restarts:
            return False
        scan = np.frombuffer(self.getvalue()[self.layout.last_scan : self.layout.end], np.uint8)
        restarts = (scan[:-1] == 0xFF) & (scan[1:] >= 0xD0) & (scan[1:] <= 0xD7)
        return int(restarts.sum()) < self.layout.restarts


class _OneScan(EndingFile):
    """A JPEG of one scan without the marker that ends the image.

    At that marker libjpeg fills missing parts with grey. Without the marker it asks for more data.
    """

    def __init__(self, data: bytes, end: int) -> None:
        super().__init__(data)
        self._end = end
        self._looked_ahead = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes before the marker, then the zeros that libjpeg reads ahead, once.

        Raises:
            FileEndsError: The zeros have been read.
        """
        left = self._end - self.tell()
        if left > 0:
            return super().read(left if size is None or size < 0 else min(size, left))
        if self._looked_ahead:
            raise FileEndsError
        self._looked_ahead = True
        return _LOOK_AHEAD


def load_jpeg(image: JpegImagePlugin.JpegImageFile, file: JpegFile, *, truncated: Truncated, source: str) -> None:
    """Load an image that reads from a `JpegFile`, and find out whether a part of it is missing.

    Raises:
        CorruptImageError: The end of the file is missing and `truncated` is "raise".
    """
    if file.layout.frame not in _HUFFMAN_FRAMES:
        image.load()
    elif not file.several_scans:
        image.fp = _OneScan(file.getvalue(), file.layout.end)
        image.decodermaxblock = _GIVEN
        load_rows(image, truncated=truncated, source=source)
    elif not _load_scans(image, file) or any(file.layout.missing.values()) or file.lacks_restarts:
        report_missing("its last scans are missing or cut", truncated=truncated, source=source)


def _load_scans(image: JpegImagePlugin.JpegImageFile, file: JpegFile) -> bool:
    """Load an image of several scans, and tell whether the last of them is whole.

    The decoder gets zeros after the last scan. If the scan is whole, the decoder looks for a marker and drops the zeros
    one by one. If it is cut, the decoder takes them for data, several at a time, and some are left over.
    """
    image.load_prepare()
    name, extents, _, arguments = image.tile[0]
    decoder = Image._getdecoder(image.mode, name, arguments, image.decoderconfig)
    rest, whole = file.getvalue()[: file.layout.end], True
    try:
        decoder.setimage(image.im, extents)
        for padding in (_LOOK_AHEAD, *[b"\0"] * 8, _END):
            rest += padding
            consumed, error = decoder.decode(rest)
            if consumed < 0:
                break
            rest = rest[consumed:]
            whole = whole and not rest
    finally:
        decoder.cleanup()
    if error < 0 or consumed >= 0:
        raise OSError(f"libjpeg failed ({error})")
    image.tile = []
    image.fp = None
    return whole


def _read_layout(data: bytes, *, source: str) -> _Layout:
    # Without the marker, zeros at the end of a file are what a broken download has left.
    layout = _Layout(end=len(data) - 2 if data.endswith(_END) else len(data.rstrip(b"\0")))
    position, segments, several_images = 2, 0, not data.endswith(_END)
    while (place := _next_marker(data, position)) >= 0:
        marker = data[place + 1]
        if marker == _END[1]:
            layout.end = place
            break
        segments += 1
        check_parts(segments, most=_MOST_SEGMENTS, parts="segments", source=source)
        position = place + 2 + max(2, int.from_bytes(data[place + 2 : place + 4], "big"))
        segment = data[place + 4 : position]
        if marker == _RESTART_INTERVAL:
            layout.restart_interval = int.from_bytes(segment[:2], "big")
        elif marker in _FRAMES:
            _read_frame(layout, marker, segment)
        elif marker == _START_OF_SCAN:
            _read_scan(layout, segment, position)
            if layout.is_one_scan:
                # Most files have one image, which ends with the file: no search.
                layout.end = _find_end(data, position, default=layout.end) if several_images else layout.end
                break
        several_images = several_images or segment.startswith(_OF_SEVERAL_IMAGES)
    return layout


def _next_marker(data: bytes, position: int) -> int:
    """Return the position of the next marker that begins a segment or ends the image; -1 if there is none."""
    ahead = data[position : position + 2]
    if len(ahead) == 2 and ahead[0] == 0xFF and _IS_MARKER[ahead[1]]:
        return position
    while position + 1 < len(data):
        block = np.frombuffer(data, np.uint8, min(_BLOCK + 1, len(data) - position), position)
        places = np.flatnonzero(block[:-1] == 0xFF)
        places = places[_IS_MARKER[block[places + 1]]]
        if len(places):
            return position + int(places[0])
        position += _BLOCK
    return -1


def _find_end(data: bytes, position: int, *, default: int) -> int:
    """Return the position of the next marker that ends an image; numpy is much faster here than `bytes.find`."""
    for start in range(position, len(data) - 1, _PIECE):
        ends = []
        for first in (start, start + 1):
            pairs = np.frombuffer(data, "<u2", max(0, min(_PIECE, len(data) - first) // 2), first)
            ends += [first + 2 * int(place) for place in np.flatnonzero(pairs == _END_AS_NUMBER)[:1]]
        if ends:
            return min(ends)
    return default


def _read_frame(layout: _Layout, marker: int, segment: bytes) -> None:
    components = [segment[start : start + 3] for start in range(6, len(segment) - 2, 3)]
    height, width = (int.from_bytes(segment[start : start + 2], "big") for start in (1, 3))
    sampling = {component[0]: (max(1, component[1] >> 4), max(1, component[1] & 15)) for component in components}
    across, down = (max((factors[axis] for factors in sampling.values()), default=1) for axis in (0, 1))
    layout.frame = marker
    layout.samples = sum(across * down for across, down in sampling.values()) / (across * down)
    layout.missing = {component: set(range(64)) for component in sampling}
    layout.units = {
        component: -(-width * factors[0] // (8 * across)) * -(-height * factors[1] // (8 * down))
        for component, factors in sampling.items()
    }
    layout.units_together = -(-width // (8 * across)) * -(-height // (8 * down))


def _read_scan(layout: _Layout, segment: bytes, end: int) -> None:
    layout.scans += 1
    layout.last_scan = end
    count = segment[0] if segment else 0
    if len(segment) < 4 + 2 * count:
        return
    components = segment[1 : 1 + 2 * count : 2]
    first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
    if layout.frame != _PROGRESSIVE:
        first, last, bits = 0, 63, 0
    if bits & 15 == 0:
        for component in components:
            layout.missing.get(component, set()).difference_update(range(first, last + 1))
    units = layout.units.get(components[0], 1) if count == 1 else layout.units_together
    layout.restarts = (units - 1) // layout.restart_interval if layout.restart_interval else 0
