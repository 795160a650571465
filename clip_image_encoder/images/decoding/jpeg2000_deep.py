"""JPEG 2000 of more than 8 bits, in which Pillow turns white into black.

Pillow rounds white up to 256 when it scales a sample to 8 bits, and keeps the lower 8 bits, which are 0. A second
decoding with half the range tells such a 0 from black. Segments are those of ITU-T T.800 (ISO/IEC 15444-1), annex A.
"""

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
        image: Image as Pillow decodes it.
        half: The same image, decoded from the file of `with_half_the_range`; black is 64 in it, and white is 192.
    """
    bands = []
    for band, half_band in zip(image.split(), half.split(), strict=True):
        is_zero = band.point([255, *[0] * 255])
        is_bright = half_band.point([0] * 128 + [255] * 128)
        bands.append(ImageChops.lighter(band, ImageChops.darker(is_zero, is_bright)))
    return Image.merge(image.mode, bands)


def with_half_the_range(data: bytes, start: int) -> bytes | None:
    """Return a file whose header declares one bit more a sample, so that the values fill the middle half of the range.

    A decoder adds half of the declared range to the signed numbers that it decodes. Those numbers must stay the
    same. With the integer wavelet they do; for the float wavelet the header also declares quantization steps half
    as large and the same number of bits.

    Args:
        data: Content of the whole file.
        start: Position of its codestream.

    Returns:
        The changed file; None if its headers can't express the change.
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
    """Halve the steps of a quantization: each exponent grows by 1, and the number of guard bits shrinks by 1.

    The first byte holds the guard bits (3) and the style (5); a step has an exponent (5) and a mantissa (11; A.6.4).
    """
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
    """Tell whether all tiles use the coding in the file's header, and none has its own."""
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
