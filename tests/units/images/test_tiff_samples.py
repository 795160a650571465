"""A TIFF's tags say what its samples mean, whatever Pillow takes them for."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from clip_image_encoder.errors import CorruptImageError, ImageError, UnsupportedImageError
from clip_image_encoder.images import ImageLoader

from .conftest import WaysIn

LOADER = ImageLoader()
GREY = np.linspace(0, 1, 64 * 48).reshape(48, 64)
COLORS = np.stack([GREY, GREY.T.reshape(48, 64), 1 - GREY], axis=2)


def tiff(values: np.ndarray[Any, Any], **options: Any) -> bytes:
    file = io.BytesIO()
    options.setdefault("photometric", "rgb" if values.ndim == 3 else "minisblack")
    tifffile.imwrite(file, values, metadata=None, **options)
    return file.getvalue()


def with_tag(data: bytes, tag: int, values: tuple[int, ...]) -> bytes:
    """Return a TIFF with other values in a tag of its first directory."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[0].tags[tag]
        packed = struct.pack(f"{file.byteorder}{len(values)}{ {3: 'H', 4: 'I'}[int(found.dtype)] }", *values)
        return data[: found.valueoffset] + packed + data[found.valueoffset + len(packed) :]


def scaled(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    pixels: np.ndarray[Any, Any] = np.rint(values * 255).astype(np.uint8)
    return pixels


def assert_same(items: dict[str, Any], expected: np.ndarray[Any, Any], *, refused: tuple[str, ...] = ()) -> None:
    """Check that each way in gives the pixels, to rounding, but for those that are refused."""
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    for name, item in items.items():
        if name in refused:
            with pytest.raises(UnsupportedImageError, match="pass the file"):
                LOADER(item)
        else:
            difference = np.asarray(LOADER(item)).astype(int) - expected
            assert np.abs(difference).max() <= 1, name


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_white_is_zero(ways_in: WaysIn, byte_order: str, compression: str | None, dtype: str) -> None:
    values = (GREY * {"u1": 255, "u2": 65535, "f4": 1}[dtype]).astype(dtype)
    data = tiff(values, photometric="miniswhite", compression=compression, byteorder=byte_order, rowsperstrip=16)
    try:
        Image.open(io.BytesIO(data)).close()
    except OSError:  # a kind that only the loader can read
        assert_same({"bytes": data}, 255 - scaled(GREY))
        return
    swapped = ("loaded PIL image",) if dtype == "f4" and byte_order == ">" and compression else ()
    assert_same(ways_in(data), 255 - scaled(GREY), refused=swapped)


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_in_planes(ways_in: WaysIn, byte_order: str, tile: tuple[int, int] | None, channels: int) -> None:
    planes = np.concatenate([COLORS, np.ones_like(COLORS[:, :, :1])], axis=2)[:, :, :channels].transpose(2, 0, 1)
    options = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    data = tiff(
        (planes * 65535).astype("u2"),
        photometric="rgb", planarconfig="separate", byteorder=byte_order, tile=tile, **options,
    )  # fmt: skip
    assert_same(ways_in(data), scaled(COLORS), refused=("loaded PIL image",))


def test_16_bit_cmyk_in_planes(ways_in: WaysIn) -> None:
    planes = np.stack([1 - COLORS[:, :, channel] for channel in range(3)] + [np.zeros_like(GREY)])
    data = tiff((planes * 65535).astype("u2"), photometric="separated", planarconfig="separate", rowsperstrip=16)
    assert_same(ways_in(data), scaled(COLORS), refused=("loaded PIL image",))


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_color_map_of_8_bits(ways_in: WaysIn, compression: str | None) -> None:
    color_map = np.random.default_rng(0).integers(0, 256, (3, 256), dtype=np.uint16)
    places = np.arange(64 * 48, dtype=np.uint8).reshape(48, 64)
    expected = color_map.T[places].astype(np.uint8)
    for depth in (1, 257):
        data = tiff(places, photometric="palette", colormap=color_map * depth, compression=compression)
        assert_same(ways_in(data), expected)


def test_12_packed_bits(ways_in: WaysIn) -> None:
    values = (GREY * 4095).astype(np.uint16)
    first, second = values[:, ::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=2).astype(np.uint8)
    data = with_tag(tiff(packed.reshape(48, 96)), 258, (12,))
    data = with_tag(data, 256, (64,))
    assert_same(ways_in(data), scaled(GREY))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["f4", "i4", "i2"])
def test_floats_and_integers_in_either_byte_order(
    ways_in: WaysIn, byte_order: str, compression: str | None, dtype: str
) -> None:
    white = {"f4": 1, "i4": 2**31 - 1, "i2": 255}[dtype]
    data = tiff((GREY * white).astype(dtype), compression=compression, byteorder=byte_order)
    swapped = ("loaded PIL image",) if byte_order == ">" and compression else ()
    assert_same(ways_in(data), scaled(GREY), refused=swapped)


def test_signed_bytes_below_0_are_refused_as_other_negative_values_are(ways_in: WaysIn) -> None:
    data = tiff(((GREY - 0.5) * 255).astype(np.int8))
    for item in ways_in(data).values():
        with pytest.raises(UnsupportedImageError, match="negative values, down to -127"):
            LOADER(item)


def thumbnail_first(big: bool, *, full: bool = True, in_chain: bool = False, photometric: str = "rgb") -> bytes:
    """Return a TIFF whose first directory is a thumbnail, as cameras' raw formats begin."""
    file = io.BytesIO()
    image = np.repeat(np.repeat(scaled(COLORS), 4, axis=0), 4, axis=1)
    with tifffile.TiffWriter(file, bigtiff=big) as writer:
        below = 0 if in_chain or not full else 1
        writer.write(np.zeros((12, 16, 3), np.uint8), photometric="rgb", subfiletype=1, metadata=None, subifds=below)
        if full:
            writer.write(
                image if photometric == "rgb" else image[:, :, 0], photometric=photometric, subfiletype=0, metadata=None
            )
    return file.getvalue()


@pytest.mark.parametrize("in_chain", [False, True])
@pytest.mark.parametrize("big", [False, True])
def test_the_first_full_image_is_taken_and_no_preview(ways_in: WaysIn, big: bool, in_chain: bool) -> None:
    items = ways_in(thumbnail_first(big, in_chain=in_chain))
    for name, item in items.items():
        if name == "loaded PIL image":
            with pytest.raises(UnsupportedImageError, match="preview"):
                LOADER(item)
        else:
            assert LOADER(item).size == (256, 192), name


@pytest.mark.parametrize("data", [thumbnail_first(False, photometric="cfa"), thumbnail_first(False, full=False)])
def test_a_raw_photo_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match="raw photo"):
        LOADER(data)


def test_directories_that_lead_in_a_circle_end() -> None:
    data = bytearray(thumbnail_first(False, full=False))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    with pytest.raises(UnsupportedImageError, match="preview"):
        LOADER(bytes(data))


def test_a_jpeg_in_a_tiff_whose_end_is_missing_is_found_out(encode: Callable[..., bytes]) -> None:
    data = encode(Image.fromarray(scaled(COLORS)), "TIFF", compression="jpeg")
    LOADER(data)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        (size,) = file.pages[0].databytecounts
    with pytest.raises(CorruptImageError, match="end of a strip"):
        LOADER(with_tag(data, 279, (size // 2,)))


@pytest.mark.parametrize("tag", [256, 257, 258, 259, 262, 273, 277, 279, 284])
@pytest.mark.parametrize("value", [0, 1, 2, 77, 65535])
def test_a_tag_that_lies_gives_pixels_or_an_image_error(encode: Callable[..., bytes], tag: int, value: int) -> None:
    data = tiff(scaled(COLORS), planarconfig="contig")
    try:
        LOADER(with_tag(data, tag, (value,)))
    except ImageError as error:
        assert error.__cause__ is not None or isinstance(error, UnsupportedImageError)
