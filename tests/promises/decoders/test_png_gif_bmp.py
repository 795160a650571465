"""PNG, GIF and BMP: what is transparent, and what only looks so."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest

from tests.promises.decoders.rule import HEIGHT, WIDTH, Values, drawing, eight_bits, on_white, scaled
from tests.promises.decoders.ways import LAZY, LOADED, assert_right, assert_right_or_refused
from tests.promises.decoders.written_files import bmp, gif, gif_frame, png

SIZE = (HEIGHT, WIDTH)
EVERY_WAY = LAZY | LOADED


# --- PNG: one value or some colors are transparent ---


def grey_png(depth: int, key: int) -> tuple[bytes, Values]:
    values = scaled(drawing(1)[..., 0], 2**depth - 1)
    data = png(values, depth=depth, color_type=0, chunks=[(b"tRNS", struct.pack(">H", key))])
    alpha = np.where(values == key, 0, 255)
    return data, on_white(np.stack([eight_bits(values, 2**depth - 1), alpha], axis=-1))


def rgb_png(depth: int, key: Sequence[int]) -> tuple[bytes, Values]:
    values = scaled(drawing(3), 2**depth - 1)
    data = png(values, depth=depth, color_type=2, chunks=[(b"tRNS", struct.pack(">3H", *key))])
    alpha = np.where((values == key).all(axis=-1, keepdims=True), 0, 255)
    return data, on_white(np.concatenate([eight_bits(values, 2**depth - 1), alpha], axis=-1))


def palette_png(depth: int, alphas: Sequence[int]) -> tuple[bytes, Values]:
    colors = np.random.default_rng(depth).integers(0, 256, (2**depth, 3))
    indices = (np.arange(HEIGHT * WIDTH) % 2**depth).reshape(SIZE)
    chunks = [(b"PLTE", colors.astype(np.uint8).tobytes()), (b"tRNS", bytes(alphas))]
    data = png(indices, depth=depth, color_type=3, chunks=chunks)
    alpha = np.full(2**depth, 255)
    alpha[: len(alphas)] = alphas
    return data, on_white(np.concatenate([colors[indices], alpha[indices][..., None]], axis=-1))


PNGS = {
    **{f"{depth}-bit grey, black": grey_png(depth, 0) for depth in (1, 2, 4, 8, 16)},
    **{f"{depth}-bit grey, white": grey_png(depth, 2**depth - 1) for depth in (1, 2, 4, 8, 16)},
    **{f"{depth}-bit grey, between": grey_png(depth, key) for depth, key in ((2, 1), (4, 9), (8, 128), (16, 0x8000))},
    **{f"{depth}-bit RGB, black": rgb_png(depth, (0, 0, 0)) for depth in (8, 16)},
    **{f"{depth}-bit RGB, white": rgb_png(depth, (2**depth - 1,) * 3) for depth in (8, 16)},
    # Its upper bytes are those of white, and nothing is transparent.
    "16-bit RGB, nearly white": rgb_png(16, (0xFF00, 0xFF00, 0xFF00)),
    "16-bit grey, nearly black": grey_png(16, 0x0101),
    **{f"{depth}-bit palette, first": palette_png(depth, [0]) for depth in (1, 2, 4, 8)},
    **{f"{depth}-bit palette, second": palette_png(depth, [255, 0]) for depth in (1, 2, 4, 8)},
    **{f"{depth}-bit palette, half": palette_png(depth, [255, 128]) for depth in (1, 2, 4, 8)},
}


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("case", PNGS)
def test_a_transparent_value_of_a_png_is_found_on_every_way_in(case: str, way: str, tmp_path: Path) -> None:
    data, right = PNGS[case]
    assert_right(EVERY_WAY[way](data, tmp_path), right)


@pytest.mark.parametrize("case", [name for name in PNGS if "16-bit RGB" not in name])
def test_libpng_finds_the_same_transparent_value(case: str) -> None:
    data, right = PNGS[case]
    values = imagecodecs.png_decode(data)
    apart = np.abs(on_white(eight_bits(values, np.iinfo(values.dtype).max)).astype(int) - right)
    assert apart.max() <= 1


# --- GIF: the first frame covers a part of the canvas ---

PALETTE = np.random.default_rng(5).integers(0, 200, (128, 3))
INDICES = (np.arange(10 * 12) % 127 + 1).reshape(10, 12)
OTHER = gif_frame(np.full(SIZE, 5))


def on_canvas(
    indices: Values, *, left: int = 7, top: int = 5, transparent: int | None = None, palette: Values = PALETTE
) -> Values:
    """Return the canvas, white but for the frame."""
    canvas = np.full((*SIZE, 3), 255, np.uint8)
    shown = palette[indices]
    shown = np.where((indices == transparent)[..., None], 255, shown) if transparent is not None else shown
    canvas[top : top + indices.shape[0], left : left + indices.shape[1]] = shown
    return canvas


PART: dict[str, Any] = {"left": 7, "top": 5}
LOCAL = np.random.default_rng(6).integers(0, 256, (128, 3))
GIFS: dict[str, tuple[bytes, Values]] = {
    "opaque": (gif(SIZE, PALETTE, gif_frame(INDICES, **PART)), on_canvas(INDICES)),
    "a transparent index": (
        gif(SIZE, PALETTE, gif_frame(INDICES, **PART, transparent=9)),
        on_canvas(INDICES, transparent=9),
    ),
    "background 77": (gif(SIZE, PALETTE, gif_frame(INDICES, **PART), background=77), on_canvas(INDICES)),
    "background 77, a transparent index": (
        gif(SIZE, PALETTE, gif_frame(INDICES, **PART, transparent=9), background=77),
        on_canvas(INDICES, transparent=9),
    ),
    "background is the transparent index": (
        gif(SIZE, PALETTE, gif_frame(INDICES, **PART, transparent=9), background=9),
        on_canvas(INDICES, transparent=9),
    ),
    "interlaced": (gif(SIZE, PALETTE, gif_frame(INDICES, **PART, interlaced=True)), on_canvas(INDICES)),
    "a palette of its own": (
        gif(SIZE, PALETTE, gif_frame(INDICES, **PART, palette=LOCAL)),
        on_canvas(INDICES, palette=LOCAL),
    ),
    **{
        f"disposal {disposal}, more frames": (
            gif(SIZE, PALETTE, gif_frame(INDICES, **PART, disposal=disposal), OTHER),
            on_canvas(INDICES),
        )
        for disposal in range(4)
    },
    "at the upper left": (gif(SIZE, PALETTE, gif_frame(INDICES)), on_canvas(INDICES, left=0, top=0)),
    "whole, opaque": (gif(SIZE, PALETTE, gif_frame(np.full(SIZE, 3))), on_canvas(np.full(SIZE, 3), left=0, top=0)),
}


@pytest.mark.parametrize("case", GIFS)
def test_where_the_first_frame_of_a_gif_is_not_the_canvas_is_transparent(case: str) -> None:
    data, right = GIFS[case]
    assert_right(data, right, within=0)


@pytest.mark.parametrize("case", GIFS)
def test_giflib_reads_the_same_frame(case: str) -> None:
    data, right = GIFS[case]
    pixels = imagecodecs.gif_decode(data, index=0)
    inside = right != 255
    np.testing.assert_array_equal(pixels[..., :3][inside], right[inside])


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("case", ["opaque", "a transparent index"])
def test_a_gif_that_covers_a_part_is_right_on_every_way_in(case: str, way: str, tmp_path: Path) -> None:
    if way == "copied PIL":
        pytest.skip("a copy no longer says where the frame was")
    data, right = GIFS[case]
    assert_right(EVERY_WAY[way](data, tmp_path), right, within=0)


# --- BMP: an alpha channel that is 0 everywhere is none ---

ARGB = (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000)
RGBA_MASKS = (0xFF000000, 0x00FF0000, 0x0000FF00, 0x000000FF)
ABGR = (0x000000FF, 0x0000FF00, 0x00FF0000, 0xFF000000)
ALPHAS = {"0": np.zeros(SIZE), "255": np.ones(SIZE), "mixed": drawing(4)[..., 3], "one 255": np.eye(*SIZE) > 0}


def in_masks(values: Values, masks: Sequence[int], dtype: str) -> Values:
    """Return `(H, W)` words with channels in 0..1 in the bits of the masks."""
    words = np.zeros(values.shape[:2], "u4")
    for channel, mask in enumerate(masks):
        lowest = mask & -mask
        words |= np.rint(values[..., channel] * (mask // lowest)).astype("u4") * np.uint32(lowest)
    return words.astype(dtype)


def with_alpha(alpha: str) -> Values:
    return np.concatenate([drawing(3), ALPHAS[alpha][..., None]], axis=-1)


def shown(values: Values, masks: Sequence[int]) -> Values:
    """Return RGBA in 0..1 on white, rounded to the bits of the masks; opaque where all alpha is 0."""
    whites = [mask // (mask & -mask) for mask in masks]
    eight = np.stack([eight_bits(np.rint(values[..., i] * white), white) for i, white in enumerate(whites)], axis=-1)
    return on_white(eight if eight.shape[2] == 4 and eight[..., 3].any() else eight[..., :3])


@pytest.mark.parametrize("top_down", [False, True], ids=["bottom up", "top down"])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("header", [108, 124], ids=["V4", "V5"])
@pytest.mark.parametrize("masks", [ARGB, RGBA_MASKS, ABGR], ids=["BGRA", "ABGR", "RGBA"])
def test_a_bmp_is_opaque_where_all_its_alpha_is_0(
    masks: Sequence[int], header: int, alpha: str, top_down: bool
) -> None:
    words = in_masks(with_alpha(alpha), masks, "<u4")
    pixels = (words if top_down else words[::-1]).tobytes()
    data = bmp(pixels, SIZE, bits=32, header=header, masks=masks, top_down=top_down)
    assert_right(data, shown(with_alpha(alpha), masks))


@pytest.mark.parametrize("way", EVERY_WAY)
@pytest.mark.parametrize("alpha", ["0", "mixed"])
def test_the_alpha_of_a_bmp_is_right_on_every_way_in(alpha: str, way: str, tmp_path: Path) -> None:
    if way == "copied PIL" and alpha == "0":
        pytest.skip("an RGBA image without a file may be transparent all over")
    pixels = in_masks(with_alpha(alpha), ARGB, "<u4")[::-1].tobytes()
    data = bmp(pixels, SIZE, bits=32, header=124, masks=ARGB)
    assert_right(EVERY_WAY[way](data, tmp_path), shown(with_alpha(alpha), ARGB))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_the_fourth_byte_of_a_bmp_without_masks_is_nothing(alpha: str) -> None:
    data = bmp(in_masks(with_alpha(alpha), ARGB, "<u4")[::-1].tobytes(), SIZE, bits=32)
    assert_right(data, shown(with_alpha(alpha)[..., :3], ARGB[:3]))


@pytest.mark.parametrize("header", [40, 108, 124], ids=["V3", "V4", "V5"])
@pytest.mark.parametrize("masks", [(0x7C00, 0x03E0, 0x001F), (0xF800, 0x07E0, 0x001F)], ids=["555", "565"])
def test_16_bit_bmps_are_right(masks: Sequence[int], header: int) -> None:
    words = in_masks(drawing(3), masks, "<u2")
    rows = np.pad(words, ((0, 0), (0, WIDTH % 2)))[::-1]
    data = bmp(rows.tobytes(), SIZE, bits=16, header=header, masks=masks)
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if header == 40:  # of the later headers OpenCV reads none with 16 bits
        assert found is not None
        apart = np.abs(found[..., ::-1].astype(int) - shown(drawing(3), masks))
        assert apart.max() <= 8  # it shifts, and so leaves white at 248
    assert_right(data, shown(drawing(3), masks), within=4)


ARGB_1555 = (0x7C00, 0x03E0, 0x001F, 0x8000)


def bmp_1555(alpha: str) -> bytes:
    rows = np.pad(in_masks(with_alpha(alpha), ARGB_1555, "<u2"), ((0, 0), (0, WIDTH % 2)))[::-1]
    return bmp(rows.tobytes(), SIZE, bits=16, header=124, masks=ARGB_1555)


@pytest.mark.parametrize("alpha", ["0", "255"])
def test_16_bit_bmps_whose_alpha_is_the_same_everywhere_are_opaque(alpha: str) -> None:
    assert_right(bmp_1555(alpha), shown(with_alpha(alpha), ARGB_1555), within=4)


def test_a_16_bit_bmp_with_a_transparent_part_is_right_or_refused() -> None:
    assert_right_or_refused(bmp_1555("one 255"), shown(with_alpha("one 255"), ARGB_1555), within=4)
