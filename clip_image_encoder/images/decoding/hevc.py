"""The size and the depth of a coded HEVC picture, from the parameter sets that the decoder itself goes by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import NamedTuple

__all__ = ["Planes", "coded_planes"]

_SPS = 33
_SLICES = range(32)
_MOST_UNITS = 10_000


class Planes(NamedTuple):
    """What a coded picture becomes.

    Attributes:
        pixels: width times height, with the margins of the last blocks.
        grey: whether there is no colour.
        depth: bits of each value.
    """

    pixels: int
    grey: bool
    depth: int


def coded_planes(settings: bytes, data: memoryview) -> Planes:
    """Return what a coded picture becomes.

    Args:
        settings: the content of the hvcC box.
        data: the coded picture, each unit behind its length.

    Raises:
        ValueError: it is damaged, cut short, or contradicts itself, or there are several pictures.
    """
    found: set[Planes] = set()
    pictures = 0
    for unit in chain(_settings(settings), _units(data, 1 + (settings[21] & 3))):
        kind = _type_of(unit)
        if kind == _SPS:
            found.add(_read_sps(unit))
        pictures += kind in _SLICES and unit[2] >> 7  # first_slice_segment_in_pic_flag
    if pictures != 1:
        raise ValueError(f"{pictures} pictures in one item")
    if len(found) != 1:
        raise ValueError(f"{len(found)} sizes of one picture")
    planes = found.pop()
    # pi-heif 1.4.0 believes the box, and would write 16 bits a value where the decoder gave it room for 8.
    if planes.depth != 8 + (settings[17] & 7) or planes.grey != (settings[16] & 3 == 0):
        raise ValueError("another depth in the box than in the coded picture")
    return planes


def _type_of(unit: bytes) -> int:
    """Return the type of a unit of the base layer; 63 of any other."""
    if len(unit) < 2:
        raise ValueError("a unit is cut short")
    header = int.from_bytes(unit[:2], "big")
    return header >> 9 if header & 0x01F8 == 0 else 63


def _settings(settings: bytes) -> Iterator[bytes]:
    """Yield the units in an hvcC box: arrays of one type each."""
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
            raise ValueError("the coded picture is cut short")
        yield bytes(data[at - size : min(at, at - size + 256)])
    raise ValueError("too many units")


def _read_sps(sps: bytes) -> Planes:
    """Return what a sequence parameter set asks for."""
    bits = _Bits(sps[2:256].replace(b"\0\0\3", b"\0\0"))
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)  # profile and level
    if layers:
        present = [(bits.take(1), bits.take(1)) for _ in range(8)][:layers]
        for profile, level in present:
            bits.take(88 * profile + 8 * level)
    bits.golomb()
    chroma = bits.golomb()
    if chroma == 3:
        bits.take(1)
    pixels = bits.golomb() * bits.golomb()
    if bits.take(1):  # the conformance window
        for _ in range(4):
            bits.golomb()
    luma, colour = 8 + bits.golomb(), 8 + bits.golomb()
    if chroma and luma != colour:
        raise ValueError("planes of different depths")
    return Planes(pixels, chroma == 0, luma)


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def take(self, count: int) -> int:
        self.left -= count
        if self.left < 0:
            raise ValueError("a parameter set is cut short")
        return self.value >> self.left & ((1 << count) - 1)

    def golomb(self) -> int:
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)
