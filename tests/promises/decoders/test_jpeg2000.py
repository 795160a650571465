"""JPEG 2000: color beyond 8 bits, and what each channel is."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from tests.promises.decoders.rule import HEIGHT, WIDTH, Values, drawing, eight_bits, on_white, scaled
from tests.promises.decoders.ways import LAZY, LOADED, LOADER, assert_refused, assert_right, assert_right_or_refused
from tests.promises.decoders.written_files import box, jp2

SIZE = (HEIGHT, WIDTH)
BGR = [(0, 0, 3), (1, 0, 2), (2, 0, 1)]


def encoded(values: Values, bits: int, container: str = "JP2", **options: Any) -> bytes:
    """Return JPEG 2000 data, lossless unless the options say more."""
    options = {"reversible": True} | options
    return bytes(imagecodecs.jpeg2k_encode(values, codecformat=container, bitspersample=bits, **options))


def codestream(channels: int, bits: int, order: Sequence[int], **options: Any) -> bytes:
    """Return a codestream of the drawing with its channels in this order."""
    values = scaled(drawing(channels), 2**bits - 1)[..., list(order)]
    return encoded(values if bits > 8 else values.astype(np.uint8), bits, "J2K", mct=False, **options)


def decoded(data: bytes, bits: int) -> Values:
    """Return what imagecodecs reads in it, in 8 bits on white."""
    return on_white(eight_bits(imagecodecs.jpeg2k_decode(data), 2**bits - 1))


@pytest.mark.parametrize("container", ["JP2", "J2K"])
@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_depth_is_the_same_image(channels: int, bits: int, container: str) -> None:
    values = scaled(drawing(channels), 2**bits - 1, "u1" if bits == 8 else "u2")
    data = encoded(values[..., 0] if channels == 1 else values, bits, container)
    np.testing.assert_array_equal(imagecodecs.jpeg2k_decode(data).reshape(values.shape), values)
    assert_right(data, decoded(data, bits))


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_was_lossily_compressed_is_not_wrapped_around(channels: int, bits: int) -> None:
    data = encoded(scaled(drawing(channels), 2**bits - 1), bits, reversible=False, level=38)
    # Beside white and black the decoder overshoots, and must be clamped.
    assert_right(data, decoded(data, bits))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 200), (64, 64), (129, 67)], ids=str)
@pytest.mark.parametrize("bits", [12, 16])
def test_deep_color_of_any_size_is_right(bits: int, size: tuple[int, int]) -> None:
    data = encoded(scaled(drawing(3, height=size[0], width=size[1]), 2**bits - 1), bits, resolutions=1)
    assert_right(data, decoded(data, bits))


@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["one tile", "tiles"])
@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("channels", [1, 3])
def test_high_throughput_codestreams_of_16_bits_are_right(
    channels: int, lossless: bool, tile: tuple[int, int] | None
) -> None:
    values = scaled(drawing(channels), 65535)
    stored = values[..., 0] if channels == 1 else values
    data = bytes(imagecodecs.htj2k_encode(stored, reversible=lossless, tile=tile, rgb=channels == 3))
    assert_right(data, decoded(data, 16))


@pytest.mark.parametrize("way", LAZY)
@pytest.mark.parametrize(("channels", "bits"), [(3, 12), (4, 16)])
def test_deep_color_is_right_on_every_way_in(channels: int, bits: int, way: str, tmp_path: Path) -> None:
    data = encoded(scaled(drawing(channels), 2**bits - 1), bits)
    assert_right(LAZY[way](data, tmp_path), decoded(data, bits))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_grey_with_alpha_is_composited(bits: int) -> None:
    values = scaled(drawing(2), 2**bits - 1)
    data = jp2(
        encoded(values, bits, "J2K"),
        channels=2,
        bits=bits,
        size=SIZE,
        color_space=17,
        definitions=[(0, 0, 1), (1, 1, 0)],
    )
    assert_right(data, decoded(data, bits))


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize(
    ("order", "definitions"),
    [
        ((2, 1, 0), BGR),
        ((1, 0, 2), [(0, 0, 2), (1, 0, 1), (2, 0, 3)]),
        ((1, 2, 0), [(0, 0, 2), (1, 0, 3), (2, 0, 1)]),
        ((2, 1, 0), [*reversed(BGR)]),
        ((2, 1, 0, 3), [*BGR, (3, 1, 0)]),
        ((3, 0, 1, 2), [(0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3)]),
        ((0, 3, 1, 2), [(0, 0, 1), (1, 1, 0), (2, 0, 2), (3, 0, 3)]),
        ((3, 2, 1, 0), [(0, 1, 0), (1, 0, 3), (2, 0, 2), (3, 0, 1)]),
        ((0, 1, 2, 3), [(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0)]),
    ],
    ids=str,
)
def test_the_channel_definition_says_which_channel_is_which(
    order: Sequence[int], definitions: Sequence[tuple[int, int, int]], bits: int
) -> None:
    channels = len(order)
    data = jp2(codestream(channels, bits, order), channels=channels, bits=bits, size=SIZE, definitions=definitions)
    assert_right(data, on_white(eight_bits(scaled(drawing(channels), 2**bits - 1), 2**bits - 1)))


@pytest.mark.parametrize("way", LAZY)
def test_the_channel_definition_is_followed_on_every_way_in(way: str, tmp_path: Path) -> None:
    data = jp2(codestream(4, 8, (2, 1, 0, 3)), channels=4, bits=8, size=SIZE, definitions=[*BGR, (3, 1, 0)])
    assert_right(LAZY[way](data, tmp_path), on_white(scaled(drawing(4), 255)))


@pytest.mark.parametrize("bits", [8, 16])
def test_grey_whose_alpha_comes_first_is_composited(bits: int) -> None:
    data = jp2(
        codestream(2, bits, (1, 0)),
        channels=2,
        bits=bits,
        size=SIZE,
        color_space=17,
        definitions=[(0, 1, 0), (1, 0, 1)],
    )
    assert_right(data, on_white(eight_bits(scaled(drawing(2), 2**bits - 1), 2**bits - 1)))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_fourth_channel_of_unspecified_type_is_no_alpha(bits: int) -> None:
    definitions = [(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 65535, 65535)]
    data = jp2(codestream(4, bits, range(4)), channels=4, bits=bits, size=SIZE, definitions=definitions)
    assert_right(data, eight_bits(scaled(drawing(4), 2**bits - 1), 2**bits - 1)[..., :3])


@pytest.mark.parametrize("bits", [8, 16])
def test_premultiplied_color_is_composited_as_it_is(bits: int) -> None:
    values = drawing(4)
    values[..., :3] *= values[..., 3:]
    stored = scaled(values, 2**bits - 1, "u1" if bits == 8 else "u2")
    data = jp2(
        encoded(stored, bits, "J2K", mct=False),
        channels=4,
        bits=bits,
        size=SIZE,
        definitions=[(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 2, 0)],
    )
    right = np.rint((values[..., :3] + 1 - values[..., 3:]) * 255).astype(np.uint8)
    assert_right(data, right, within=2)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_fourth_channel_that_nothing_defines_is_alpha(bits: int) -> None:
    data = jp2(codestream(4, bits, range(4)), channels=4, bits=bits, size=SIZE)
    assert_right(data, on_white(eight_bits(scaled(drawing(4), 2**bits - 1), 2**bits - 1)))


def indexed(columns: Sequence[int], colors: Values) -> bytes:
    """Return a JP2 with a palette whose column i is what component `columns[i]` shows."""
    indices = (np.arange(HEIGHT * WIDTH) % len(colors)).reshape(SIZE).astype(np.uint8)
    entries = struct.pack(">HB", len(colors), 3) + bytes([7, 7, 7]) + colors.astype(np.uint8).tobytes()
    mapping = b"".join(struct.pack(">HBB", 0, 1, column) for column in columns)
    return jp2(
        encoded(indices, 8, "J2K"),
        channels=1,
        bits=8,
        size=SIZE,
        boxes=box(b"pclr", entries) + box(b"cmap", mapping),
    )


def test_a_palette_is_shown_and_one_whose_columns_are_mixed_is_refused() -> None:
    colors = np.random.default_rng(3).integers(0, 256, (7, 3))
    indices = (np.arange(HEIGHT * WIDTH) % 7).reshape(SIZE)
    assert_right(indexed((0, 1, 2), colors), colors[indices].astype(np.uint8))
    for columns in ((2, 1, 0), (1, 2, 0)):
        assert_refused(indexed(columns, colors))


@pytest.mark.parametrize("bits", [8, 12])
def test_ycc_is_rgb_at_8_bits_and_refused_beyond(bits: int) -> None:
    half = 2 ** (bits - 1)
    rgb = drawing(3) * 0.5 + 0.25
    luma = rgb @ [0.299, 0.587, 0.114]
    ycc = np.stack([luma, (rgb[..., 2] - luma) / 1.772, (rgb[..., 0] - luma) / 1.402], axis=-1)
    stored = np.rint(ycc * (2**bits - 1) + [0, half, half]).astype("u1" if bits == 8 else "u2")
    data = jp2(encoded(stored, bits, "J2K", mct=False), channels=3, bits=bits, size=SIZE, color_space=18)
    if bits > 8:
        assert_refused(data)
    else:
        assert_right(data, np.rint(rgb * 255).astype(np.uint8), within=3)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_half_of_the_range_is_added_to_samples_with_a_sign(channels: int, bits: int) -> None:
    unsigned = scaled(drawing(channels), 2**bits - 1, "i4")
    values = (unsigned - 2 ** (bits - 1)).astype("i1" if bits == 8 else "i2")
    data = encoded(values[..., 0] if channels == 1 else values, bits)
    assert imagecodecs.jpeg2k_decode(data).min() < 0
    assert_right(data, on_white(eight_bits(unsigned, 2**bits - 1)))


@pytest.mark.parametrize("way", LOADED)
@pytest.mark.parametrize("case", ["12 bits", "BGRA"])
def test_what_pillow_has_decoded_wrongly_is_refused_where_it_can_be_told(case: str, way: str, tmp_path: Path) -> None:
    if case == "12 bits":
        data = encoded(scaled(drawing(3), 4095), 12)
        right = decoded(data, 12)
    else:
        data = jp2(codestream(4, 8, (2, 1, 0, 3)), channels=4, bits=8, size=SIZE, definitions=[*BGR, (3, 1, 0)])
        right = on_white(scaled(drawing(4), 255))
    if way == "copied PIL":
        assert LOADER(LOADED[way](data, tmp_path)).size == SIZE[::-1]  # an image like any other by now
    else:
        assert_right_or_refused(LOADED[way](data, tmp_path), right)
