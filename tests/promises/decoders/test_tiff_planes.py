"""TIFF: one plane after the other, and the colors of palettes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from tests.promises.decoders.rule import HEIGHT, WIDTH, Values, drawing, eight_bits, from_cmyk, on_white, scaled
from tests.promises.decoders.ways import LAZY, LOADED, assert_refused, assert_right, assert_right_or_refused
from tests.promises.decoders.written_files import packed, tags, tiff

KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "RGB": (3, {"photometric": "rgb"}),
    "RGBA": (4, {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    "CMYK": (4, {"photometric": "separated"}),
    "grey and alpha": (2, {"photometric": "minisblack", "extrasamples": ["unassalpha"]}),
    "premultiplied": (4, {"photometric": "rgb", "extrasamples": ["assocalpha"]}),
    "RGB and something": (4, {"photometric": "rgb", "extrasamples": ["unspecified"]}),
}
WRITTEN: dict[str, dict[str, Any]] = {
    "raw": {},
    "raw strips": {"rowsperstrip": 5},
    "raw tiles": {"tile": (16, 16)},
    "LZW strips": {"compression": "lzw", "rowsperstrip": 5},
    "deflate tiles": {"compression": "zlib", "tile": (16, 16)},
    "deflate strips, predictor": {"compression": "zlib", "predictor": True, "rowsperstrip": 5},
}


def written(values: Values, planes: str, order: str = "<", **options: Any) -> bytes:
    """Return a TIFF of `(H, W, C)` values, planes "separate" or "contig"."""
    file = io.BytesIO()
    stored = np.moveaxis(values, -1, 0) if planes == "separate" else values
    tifffile.imwrite(file, np.ascontiguousarray(stored), byteorder=order, planarconfig=planes, metadata=None, **options)
    return file.getvalue()


def values_of(kind: str, dtype: str) -> Values:
    values = drawing(KINDS[kind][0])
    if kind == "premultiplied":
        values[..., :3] *= values[..., 3:]
    return values.astype(dtype) if dtype.startswith("f") else scaled(values, 2 ** (8 * int(dtype[1])) - 1, dtype)


def right_of(kind: str, data: bytes) -> Values:
    """Return what tifffile reads, by the documented rule."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        values = file.pages[0].asarray()
        if file.pages[0].planarconfig == 2:
            values = np.moveaxis(values, 0, -1)
    eight = eight_bits(values, 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max)
    if kind == "CMYK":
        return from_cmyk(eight)
    if kind == "premultiplied":
        on_the_background: Values = eight[..., :3] + (255 - eight[..., 3:])
        return on_the_background
    return on_white(eight[..., :3] if kind == "RGB and something" else eight)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("planes", ["separate", "contig"])
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "CMYK"])
def test_planes_and_pixels_in_a_row_are_the_same_image(
    kind: str, planes: str, dtype: str, how: str, order: str
) -> None:
    data = written(values_of(kind, dtype), planes, order, **KINDS[kind][1], **WRITTEN[how])
    assert_right(data, right_of(kind, data))


# Pillow has no mode, or no raw mode of a single plane, for them.
REFUSED_EXTRA = {
    *(("grey and alpha", "u2", how, planes) for how in WRITTEN for planes in ("separate", "contig")),
    *(("grey and alpha", "u1", how, "separate") for how in WRITTEN),
    *(
        (kind, dtype, how, "separate")
        for kind in ("premultiplied", "RGB and something")
        for dtype in ("u1", "u2")
        for how in ("raw", "raw strips", "raw tiles")
    ),
}


@pytest.mark.parametrize("planes", ["separate", "contig"])
@pytest.mark.parametrize("how", WRITTEN)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("kind", ["grey and alpha", "premultiplied", "RGB and something"])
def test_further_planes_are_what_their_tag_says(kind: str, dtype: str, how: str, planes: str) -> None:
    data = written(values_of(kind, dtype), planes, **KINDS[kind][1], **WRITTEN[how])
    if (kind, dtype, how, planes) in REFUSED_EXTRA:
        assert_refused(data)
    else:
        assert_right(data, right_of(kind, data), within=2 if kind == "premultiplied" else 1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planes", ["separate", "contig"])
@pytest.mark.parametrize("kind", ["RGB", "RGBA"])
def test_color_of_floats_is_refused(kind: str, planes: str, order: str) -> None:
    assert_refused(written(values_of(kind, "f4"), planes, order, **KINDS[kind][1]))


@pytest.mark.parametrize("way", LAZY)
@pytest.mark.parametrize("kind", ["RGB", "RGBA", "CMYK"])
def test_16_bit_planes_are_right_on_every_way_in(kind: str, way: str, tmp_path: Path) -> None:
    data = written(values_of(kind, "u2"), "separate", **KINDS[kind][1])
    assert_right(LAZY[way](data, tmp_path), right_of(kind, data))


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "CMYK"])
def test_16_bit_planes_that_pillow_has_decoded_are_right_or_refused(kind: str, tmp_path: Path) -> None:
    data = written(values_of(kind, "u2"), "separate", **KINDS[kind][1])
    assert_right_or_refused(LOADED["loaded PIL"](data, tmp_path), right_of(kind, data))


def with_palette(bits: int, factor: int, order: str) -> tuple[bytes, Values]:
    """Return a TIFF with a palette whose 8-bit colors are multiplied, and the image that it is."""
    colors = np.random.default_rng(bits).integers(1, 256, (2**bits, 3))
    colors[0], colors[-1] = 255, 0
    indices = (np.arange(HEIGHT * WIDTH) * 7 % 2**bits).reshape(HEIGHT, WIDTH)
    directory = tags(WIDTH, HEIGHT, bits=[bits], photometric=3)
    directory[320] = ("H", (colors.T * factor).reshape(-1).tolist())
    return tiff((directory, packed(indices, bits)), order=order), colors[indices].astype(np.uint8)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("factor", [1, 256, 257], ids=["8-bit colors", "shifted colors", "16-bit colors"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_color_maps_of_8_and_16_bits_are_the_same_palette(bits: int, factor: int, order: str) -> None:
    data, right = with_palette(bits, factor, order)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        found = file.pages[0].colormap[:, file.pages[0].asarray().astype(int)]
    np.testing.assert_array_equal(np.moveaxis(found, 0, -1), right.astype(int) * factor)
    assert_right(data, right)


@pytest.mark.parametrize("way", LAZY)
def test_an_8_bit_color_map_is_right_on_every_way_in(way: str, tmp_path: Path) -> None:
    data, right = with_palette(8, 1, "<")
    assert_right(LAZY[way](data, tmp_path), right)


def test_an_8_bit_color_map_that_pillow_has_decoded_is_right_or_refused(tmp_path: Path) -> None:
    data, right = with_palette(8, 1, "<")
    assert_right_or_refused(LOADED["loaded PIL"](data, tmp_path), right)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits"])
def test_an_8_bit_color_map_of_a_compressed_file_is_right(compression: str) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (256, 3))
    indices = (np.arange(HEIGHT * WIDTH) % 256).reshape(HEIGHT, WIDTH).astype(np.uint8)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        indices,
        photometric="palette",
        colormap=colors.T.astype(np.uint16),
        compression=compression,
        metadata=None,
    )
    assert_right(file.getvalue(), colors[indices].astype(np.uint8))
