"""JPEG 2000 of more than 8 bits, where Pillow rounds white up to 256 and keeps the lower 8 bits of that: 0."""

from __future__ import annotations

import struct

from PIL import Image, ImageChops

__all__ = ["with_half_the_range", "with_whites"]

_SIZE, _QUANTISATION, _QUANTISATION_OF_ONE, _START_OF_TILE, _START_OF_DATA = 0xFF51, 0xFF5C, 0xFF5D, 0xFF90, 0xFF93
_CODING_IN_TILES = (0xFF52, 0xFF53, _QUANTISATION, _QUANTISATION_OF_ONE)
_UNQUANTISED = 0


def with_whites(image: Image.Image, half: Image.Image) -> Image.Image:
    """Return an image with 255 where rounding up to 256 has made 0 of it.

    Args:
        image: as Pillow decodes it.
        half: the same, decoded from `with_half_the_range`: black is 64 in it, and white is 192.
    """
    bands = []
    for band, half_band in zip(image.split(), half.split(), strict=True):
        is_zero = band.point([255, *[0] * 255])
        is_bright = half_band.point([0] * 128 + [255] * 128)
        bands.append(ImageChops.lighter(band, ImageChops.darker(is_zero, is_bright)))
    return Image.merge(image.mode, bands)


def with_half_the_range(data: bytes, start: int) -> bytes | None:
    """Return a file whose samples say that they have one bit more, so that they fill the middle half of the range.

    Decoders add half of the range to the numbers that they decode, which have a sign. What they decode
    must stay the same: wavelets of integers do, and those of floats are told to take steps half as
    large and to expect as many bits as before.

    Args:
        data: the whole file.
        start: where its codestream begins.

    Returns:
        The file; None where that can't be said in its headers.
    """
    changed = bytearray(data)
    place = start + 2
    while place + 4 <= len(data):
        marker, length = struct.unpack_from(">HH", data, place)
        if marker == _START_OF_TILE:
            return bytes(changed) if _tiles_follow_the_header(data, place) else None
        if marker == _SIZE:
            (channels,) = struct.unpack_from(">H", data, place + 38)
            for channel in range(channels):
                changed[place + 40 + 3 * channel] += 1
        elif marker in (_QUANTISATION, _QUANTISATION_OF_ONE):
            steps = place + (4 if marker == _QUANTISATION else 5)
            if not _halve_steps(changed, steps, place + 2 + length):
                return None
        place += 2 + length
    return None


def _halve_steps(data: bytearray, start: int, end: int) -> bool:
    """Halve the steps of a quantisation by one more in each exponent, and one less in the number of guard bits."""
    if data[start] & 31 == _UNQUANTISED:
        return True
    exponents = range(start + 1, end - 1, 2)
    if data[start] >> 5 == 0 or any(data[place] >> 3 == 31 for place in exponents):
        return False
    data[start] -= 1 << 5
    for place in exponents:
        data[place] += 1 << 3
    return True


def _tiles_follow_the_header(data: bytes, place: int) -> bool:
    """Tell whether no tile has a coding of its own, beside the file's."""
    while place + 12 <= len(data) and struct.unpack_from(">H", data, place)[0] == _START_OF_TILE:
        (size,) = struct.unpack_from(">I", data, place + 6)
        inner = place + 12
        while inner + 4 <= len(data):
            marker, length = struct.unpack_from(">HH", data, inner)
            if marker == _START_OF_DATA:
                break
            if marker in _CODING_IN_TILES:
                return False
            inner += 2 + length
        if size < 14:  # the last tile, up to the end
            break
        place += size
    return True
