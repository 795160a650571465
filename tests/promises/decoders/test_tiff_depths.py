"""TIFF: what white is, by photometric interpretation, depth, sample format and byte order."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from tests.promises.decoders.rule import (
    HEIGHT,
    WIDTH,
    Values,
    drawing,
    eight_bits,
    float_white,
    integer_white,
    on_white,
    scaled,
)
from tests.promises.decoders.ways import LAZY, LOADED, LOADER, assert_refused, assert_right, assert_right_or_refused
from tests.promises.decoders.written_files import packed, tags, tiff

ORDERS = ["<", ">"]
LAYOUTS: dict[str, dict[str, Any]] = {
    "one strip": {},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 16)},
}
COMPRESSIONS: dict[str, dict[str, Any]] = {
    "raw": {},
    "LZW": {"compression": "lzw"},
    "deflate": {"compression": "zlib"},
    "deflate, predictor": {"compression": "zlib", "predictor": True},
    "LZW, predictor": {"compression": "lzw", "predictor": True},
    "PackBits": {"compression": "packbits"},
}


def written(values: Values, order: str = "<", **options: Any) -> bytes:
    """Return a TIFF."""
    file = io.BytesIO()
    options = {"photometric": "minisblack", "metadata": None} | options
    tifffile.imwrite(file, values, byteorder=order, **options)
    return file.getvalue()


def read(data: bytes) -> Values:
    """Return the values that tifffile reads, as they are in the file."""
    return np.asarray(tifffile.imread(io.BytesIO(data)))


def white_of(values: Values) -> float:
    """Return what white is by the documented rule, where BitsPerSample is that of the dtype."""
    if values.dtype.kind == "f":
        return float_white(values)
    return integer_white(values) if values.dtype.itemsize > 2 else 2 ** (8 * values.dtype.itemsize) - 1


def of_dtype(dtype: str, channels: int = 1) -> Values:
    """Return the drawing in a dtype, from black to white."""
    values = drawing(channels)[..., 0] if channels == 1 else drawing(channels)
    return values.astype(dtype) if dtype.startswith("f") else scaled(values, 2 ** (8 * int(dtype[1])) - 1, dtype)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_white_is_zero_is_no_negative(dtype: str, compression: str, layout: str, order: str) -> None:
    values = of_dtype(dtype)
    data = written(values, order, photometric="miniswhite", **COMPRESSIONS[compression], **LAYOUTS[layout])
    np.testing.assert_array_equal(read(data), values)
    assert_right(data, 255 - on_white(eight_bits(read(data), white_of(values))))


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", [0, 1])
def test_few_bits_are_spread_from_black_to_white(photometric: int, bits: int) -> None:
    values = scaled(drawing(1)[..., 0], 2**bits - 1)
    data = tiff((tags(WIDTH, HEIGHT, bits=[bits], photometric=photometric), packed(values, bits)))
    np.testing.assert_array_equal(read(data), values)
    right = on_white(eight_bits(values, 2**bits - 1))
    assert_right(data, right if photometric else 255 - right)


# Packed bits are in one order in both kinds of files: the highest first.
PACKERS: dict[int, Callable[[bytes], bytes]] = {
    1: lambda rows: rows,
    5: imagecodecs.lzw_encode,
    8: zlib.compress,
    32773: imagecodecs.packbits_encode,
}


def packed_tiff(bits: int, *, white: int, photometric: int = 1, compression: int = 1, order: str = "<") -> bytes:
    """Return a TIFF of packed bits, grey or, at photometric 2, RGB."""
    values = scaled(drawing(3 if photometric == 2 else 1), white)
    directory = tags(WIDTH, HEIGHT, bits=[bits] * values.shape[2], photometric=photometric, compression=compression)
    data = tiff((directory, bytes(PACKERS[compression](packed(values, bits)))), order=order)
    np.testing.assert_array_equal(read(data).reshape(values.shape), values)
    return data


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize("brightest", [4095, 200])
@pytest.mark.parametrize("photometric", [0, 1])
def test_the_white_of_packed_12_bits_is_4095(brightest: int, photometric: int, compression: int) -> None:
    data = packed_tiff(12, white=brightest, photometric=photometric, compression=compression)
    greys = on_white(eight_bits(read(data), 4095))
    assert_right(data, greys if photometric else 255 - greys)


# Pillow has no raw mode for them.
REFUSED_PACKED = [
    *((bits, photometric, order) for bits in (10, 14) for photometric in (0, 1, 2) for order in "<>"),
    *((12, 2, order) for order in "<>"),
    *((12, photometric, ">") for photometric in (0, 1)),
]


@pytest.mark.parametrize("compression", PACKERS)
@pytest.mark.parametrize(("bits", "photometric", "order"), REFUSED_PACKED)
def test_other_packed_bits_are_refused(bits: int, photometric: int, order: str, compression: int) -> None:
    data = packed_tiff(bits, white=2**bits - 1, photometric=photometric, order=order, compression=compression)
    assert_refused(data)


@pytest.mark.parametrize("bits", [3, 6, 24])
def test_other_depths_are_refused(bits: int) -> None:
    values = scaled(drawing(1)[..., 0], 2**bits - 1, "u4")
    assert_refused(tiff((tags(WIDTH, HEIGHT, bits=[bits], photometric=1), packed(values, bits))))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "PackBits"])
def test_floats_are_right_in_both_byte_orders(compression: str, order: str) -> None:
    data = written(of_dtype("f4"), order, **COMPRESSIONS[compression])
    np.testing.assert_array_equal(read(data), of_dtype("f4"))
    assert_right(data, on_white(eight_bits(read(data), 1)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "PackBits"])
@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_half_and_double_floats_are_refused(dtype: str, compression: str, order: str) -> None:
    assert_refused(written(of_dtype(dtype), order, **COMPRESSIONS[compression]))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("layout", ["strips", "tiles"])
@pytest.mark.parametrize("white", [255, 65535])
def test_the_white_of_floats_is_the_smallest_that_fits(white: int, layout: str, order: str) -> None:
    data = written(of_dtype("f4") * np.float32(white), order, compression="zlib", **LAYOUTS[layout])
    assert_right(data, on_white(eight_bits(read(data), white)))


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "PackBits"])
@pytest.mark.parametrize("white", [255, 65535, 2**31 - 1])
@pytest.mark.parametrize(("dtype", "order"), [("i4", "<"), ("i4", ">"), ("u4", "<")])
def test_32_bit_integers_are_right(dtype: str, order: str, white: int, compression: str) -> None:
    data = written(scaled(drawing(1)[..., 0], white, dtype), order, **COMPRESSIONS[compression])
    assert read(data).max() == white
    assert_right(data, on_white(eight_bits(read(data), white)))


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "PackBits"])
@pytest.mark.parametrize("white", [255, 65535, 2**31 - 1])
def test_big_endian_unsigned_32_bit_integers_are_refused(white: int, compression: str) -> None:
    assert_refused(written(scaled(drawing(1)[..., 0], white, "u4"), ">", **COMPRESSIONS[compression]))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("compression", ["raw", "deflate"])
def test_16_bit_rgb_is_right_in_both_byte_orders(compression: str, order: str) -> None:
    data = written(of_dtype("u2", 3), order, photometric="rgb", **COMPRESSIONS[compression])
    assert_right(data, on_white(eight_bits(read(data), 65535)))


def signed(dtype: str) -> Values:
    """Return the drawing around zero."""
    bits = 8 * int(dtype[1])
    values: Values = (scaled(drawing(1)[..., 0], 2**bits - 1, "i8") - 2 ** (bits - 1)).astype(dtype)
    return values


REFUSED: dict[str, tuple[Values, dict[str, Any]]] = {
    "signed bytes": (signed("i1"), {}),
    "signed bytes, deflate": (signed("i1"), {"compression": "zlib"}),
    "signed shorts": (signed("i2"), {}),
    "signed shorts, deflate": (signed("i2"), {"compression": "zlib"}),
    "signed longs": (signed("i4"), {}),
    "signed bytes, RGB": (np.stack([signed("i1")] * 3, axis=-1), {"photometric": "rgb"}),
    "signed shorts, RGB": (np.stack([signed("i2")] * 3, axis=-1), {"photometric": "rgb"}),
    "signed bytes, white is zero": (signed("i1"), {"photometric": "miniswhite"}),
    "negative floats": (drawing(1)[..., 0].astype("f4") - np.float32(0.5), {}),
    "floats beyond 65535": (drawing(1)[..., 0].astype("f4") * np.float32(1e6), {}),
    "not a number": (np.where(drawing(1)[..., 0] > 0.9, np.nan, 0.5).astype("f4"), {}),
    "64-bit integers": (scaled(drawing(1)[..., 0], 65535, "u8"), {}),
    "complex": (drawing(1)[..., 0].astype("c8"), {}),
    "more than 31 bits": (scaled(drawing(1)[..., 0], 2**32 - 1, "u4"), {}),
    "RGB of 32-bit integers": (scaled(drawing(3), 2**31 - 1, "u4"), {"photometric": "rgb"}),
    "RGB of floats": (drawing(3).astype("f4"), {"photometric": "rgb"}),
    "RGB of half floats": (drawing(3).astype("f2"), {"photometric": "rgb"}),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", REFUSED)
def test_values_that_say_no_brightness_are_refused(case: str, order: str) -> None:
    values, options = REFUSED[case]
    assert_refused(written(values, order, **options))


@pytest.mark.parametrize("dtype", ["i1", "i2"])
def test_signed_values_without_a_negative_one_are_right(dtype: str) -> None:
    values = scaled(drawing(1)[..., 0], 120, dtype)
    assert_right(written(values), on_white(eight_bits(values, 255)))


WAYS_CASES: dict[str, bytes] = {
    "WhiteIsZero, 16 bits": written(of_dtype("u2"), photometric="miniswhite"),
    "WhiteIsZero, float": written(of_dtype("f4"), photometric="miniswhite"),
    "12 bits": packed_tiff(12, white=4095),
    "big-endian float": written(of_dtype("f4"), ">", compression="zlib"),
    "big-endian integers": written(scaled(drawing(1)[..., 0], 65535, "i4"), ">", compression="zlib"),
}


def right_of(case: str) -> Values:
    """Return the image in one of these files."""
    values = read(WAYS_CASES[case])
    right = on_white(eight_bits(values, 4095 if case == "12 bits" else white_of(values)))
    return 255 - right if case.startswith("WhiteIsZero") else right


@pytest.mark.parametrize("way", LAZY)
@pytest.mark.parametrize("case", WAYS_CASES)
def test_each_is_right_on_every_way_in(case: str, way: str, tmp_path: Path) -> None:
    assert_right(LAZY[way](WAYS_CASES[case], tmp_path), right_of(case))


@pytest.mark.parametrize("case", WAYS_CASES)
def test_what_pillow_has_decoded_is_right_or_refused(case: str, tmp_path: Path) -> None:
    assert_right_or_refused(LOADED["loaded PIL"](WAYS_CASES[case], tmp_path), right_of(case))


@pytest.mark.parametrize("way", LAZY | LOADED)
def test_signed_bytes_are_refused_on_every_way_in(way: str, tmp_path: Path) -> None:
    item = (LAZY | LOADED)[way](written(signed("i1")), tmp_path)
    if way == "copied PIL":
        assert LOADER(item).size == (WIDTH, HEIGHT)  # bytes like any others by now
    else:
        assert_refused(item)
