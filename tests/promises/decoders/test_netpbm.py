"""PGM and PPM: white is the maxval, whatever the brightest value in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.promises.decoders.rule import HEIGHT, WIDTH, Values, drawing, eight_bits, on_white, scaled
from tests.promises.decoders.ways import LAZY, LOADED, assert_right


def netpbm(values: Values, maxval: int, *, plain: bool) -> bytes:
    """Return a PGM `(H, W)` or PPM `(H, W, 3)`, raw or in digits."""
    number = (2 if plain else 5) + (values.ndim == 3)
    head = b"P%d\n%d %d\n%d\n" % (number, values.shape[1], values.shape[0], maxval)
    if plain:
        return head + b"\n".join(b" ".join(b"%d" % value for value in row.reshape(-1)) for row in values)
    return head + values.astype(">u2" if maxval > 255 else "u1").tobytes()


@pytest.mark.parametrize("plain", [False, True], ids=["raw", "plain"])
@pytest.mark.parametrize("channels", [1, 3], ids=["PGM", "PPM"])
@pytest.mark.parametrize("brightest", [1, 0.3])
@pytest.mark.parametrize("maxval", [1, 2, 15, 100, 254, 255, 256, 1000, 1023, 4095, 32767, 65534, 65535])
def test_white_is_the_maxval(maxval: int, brightest: float, channels: int, plain: bool) -> None:
    values = scaled(drawing(channels) * brightest, maxval)
    data = netpbm(values[..., 0] if channels == 1 else values, maxval, plain=plain)
    assert_right(data, on_white(eight_bits(values, maxval)))


@pytest.mark.parametrize("way", LAZY | LOADED)
@pytest.mark.parametrize("maxval", [100, 4095, 65535])
def test_a_dark_pgm_stays_dark_on_every_way_in(maxval: int, way: str, tmp_path: Path) -> None:
    if way == "copied PIL" and maxval > 255:
        pytest.skip("of mode I without a file, white is the smallest that fits")
    values = scaled(drawing(1)[..., 0], min(maxval, 200) // 2)
    data = netpbm(values, maxval, plain=False)
    assert_right((LAZY | LOADED)[way](data, tmp_path), on_white(eight_bits(values, maxval)))


@pytest.mark.parametrize("plain", [False, True], ids=["raw", "plain"])
def test_a_bitmap_is_black_where_it_says_1(plain: bool) -> None:
    bits = (drawing(1)[..., 0] > 0.5).astype(np.uint8)
    rows = b"\n".join(b"".join(b"%d" % bit for bit in row) for row in bits)
    head = b"P%d\n%d %d\n" % (1 if plain else 4, WIDTH, HEIGHT)
    data = head + (rows if plain else np.packbits(bits, axis=1).tobytes())
    assert_right(data, on_white((1 - bits) * 255))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("white", [1, 255])
def test_a_float_map_is_right_in_both_byte_orders(white: int, order: str) -> None:
    values = (drawing(1)[..., 0] * white).astype("f4")
    head = b"Pf\n%d %d\n%s\n" % (WIDTH, HEIGHT, b"-1.0" if order == "<" else b"1.0")
    data = head + values[::-1].astype(order + "f4").tobytes()
    assert_right(data, on_white(eight_bits(values, white)))
