"""The size and the depth of an image in HEVC, from the parameter sets that the decoder itself follows.

Names and numbers of sections are those of ITU-T H.265 (ISO/IEC 23008-2).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

__all__ = ["Planes", "coded_planes"]

_SPS = 33  # type of a sequence parameter set (7.4.2.2)
_SLICES = range(32)  # types of coded slices
_MOST_UNITS = 10_000


class Planes(NamedTuple):
    """The planes of values that a coded image is decoded to.

    Attributes:
        pixels: Width times height, with the margins of the last blocks.
        grey: Whether there is no plane of colors.
        depth: Bits of each value.
    """

    pixels: int
    grey: bool
    depth: int


def coded_planes(settings: bytes, data: memoryview) -> Planes:
    """Return the planes that a coded image is decoded to.

    Args:
        settings: Content of the hvcC box (ISO/IEC 14496-15, 8.3.3.1).
        data: Coded image, a sequence of units with the length before each.

    Raises:
        ValueError: The data is damaged, is cut short, contradicts itself, or contains several images.
    """
    found: set[Planes] = set()
    images = 0
    for unit in chain(_settings(settings), _units(data, 1 + (settings[21] & 3))):
        kind = _type_of(unit)
        if kind == _SPS:
            found.add(_read_sps(unit))
        images += kind in _SLICES and unit[2] >> 7  # first_slice_segment_in_pic_flag
    if images != 1:
        raise ValueError(f"{images} images in one item")
    if len(found) != 1:
        raise ValueError(f"{len(found)} sizes of one image")
    planes = found.pop()
    # pi-heif 1.4.0 goes by the box: it would write 16 bits a value into memory that the decoder has made for 8.
    if planes.depth != 8 + (settings[17] & 7) or planes.grey != (settings[16] & 3 == 0):
        raise ValueError("another depth in the box than in the coded image")
    return planes


def _type_of(unit: bytes) -> int:
    """Return the type of a unit of the base layer; 63, which is unspecified, for one of another layer.

    The header of a unit has 16 bits: a zero, 6 for the type, 6 for the layer, 3 for the temporal layer (7.3.1.2).
    """
    if len(unit) < 2:
        raise ValueError("a unit is cut short")
    header = int.from_bytes(unit[:2], "big")
    return header >> 9 if header & 0x01F8 == 0 else 63


def _settings(settings: bytes) -> Iterator[bytes]:
    """Yield the units in an hvcC box, which holds an array of units for each type."""
    at = 23
    for _ in range(settings[22]):
        count = int.from_bytes(settings[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(settings[at : at + 2], "big")
            yield settings[at + 2 : at + 2 + size]
            at += 2 + size


def _units(data: memoryview, length: int) -> Iterator[bytes]:
    at = 0
    for _ in range(_MOST_UNITS):
        if at == len(data):
            return
        size = int.from_bytes(data[at : at + length], "big")
        at += length + size
        if at > len(data):
            raise ValueError("the coded image is cut short")
        yield bytes(data[at - size : min(at, at - size + 256)])
    raise ValueError("too many units")


def _read_sps(sps: bytes) -> Planes:
    """Return the planes that a sequence parameter set describes (7.3.2.2)."""
    bits = _Bits(sps[2:256].replace(b"\0\0\3", b"\0\0"))  # without the bytes that prevent a false start code
    bits.take(4)  # sps_video_parameter_set_id
    layers = bits.take(3)  # sps_max_sub_layers_minus1
    bits.take(1 + 88 + 8)  # sps_temporal_id_nesting_flag, profile and level
    if layers:
        present = [(bits.take(1), bits.take(1)) for _ in range(8)][:layers]
        for profile, level in present:
            bits.take(88 * profile + 8 * level)
    bits.golomb()  # sps_seq_parameter_set_id
    chroma = bits.golomb()  # chroma_format_idc
    if chroma == 3:
        bits.take(1)  # separate_colour_plane_flag
    pixels = bits.golomb() * bits.golomb()
    if bits.take(1):  # conformance_window_flag
        for _ in range(4):
            bits.golomb()
    luma, color = 8 + bits.golomb(), 8 + bits.golomb()
    if chroma and luma != color:
        raise ValueError("planes of different depths")
    return Planes(pixels, chroma == 0, luma)


class _Bits:
    """Reads numbers of any number of bits, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def take(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise ValueError("a parameter set is cut short")
        return self.value >> self.left & ((1 << count) - 1)

    def golomb(self) -> int:
        """Return an Exp-Golomb number, `ue(v)` in 9.2."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
