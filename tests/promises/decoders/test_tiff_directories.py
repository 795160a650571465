"""TIFF: the image is the first full image, wherever its directory stands."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.promises.decoders.rule import Values, drawing, scaled
from tests.promises.decoders.ways import LAZY, LOADED, assert_refused, assert_right, assert_right_or_refused
from tests.promises.decoders.written_files import Tags, tags, tiff

Directory = tuple[Tags, bytes]

FULL = scaled(drawing(3, height=44, width=62), 255, "u1")
SECOND = 255 - FULL
SMALL = FULL[::4, ::4]


def rgb(values: Values, subfile: int | None = None, **numbers: int) -> Directory:
    """Return the directory of an RGB image, NewSubfileType being `subfile`."""
    height, width = values.shape[:2]
    return tags(width, height, bits=[8, 8, 8], photometric=2, subfile=subfile, **numbers), values.tobytes()


def mask() -> Directory:
    return tags(62, 44, bits=[1], photometric=4, subfile=4), bytes(44 * 8)


def sensor(subfile: int = 0) -> Directory:
    """Return what a camera's sensor saw, through a mosaic of colors."""
    return tags(62, 44, bits=[16], photometric=32803, subfile=subfile), bytes(62 * 44 * 2)


RIGHT: dict[str, tuple[list[Directory], bool]] = {
    "thumbnail, full": ([rgb(SMALL, 1), rgb(FULL, 0)], False),
    "thumbnail, full without the tag": ([rgb(SMALL, 1), rgb(FULL)], False),
    "thumbnail, full in a SubIFD": ([rgb(SMALL, 1), rgb(FULL, 0)], True),
    "two thumbnails, full": ([rgb(SMALL, 1), rgb(SMALL, 1), rgb(FULL, 0)], False),
    "thumbnail, thumbnail and full in SubIFDs": ([rgb(SMALL, 1), rgb(SMALL, 1), rgb(FULL, 0)], True),
    "thumbnail, mask, full": ([rgb(SMALL, 1), mask(), rgb(FULL, 0)], False),
    "thumbnail, two full": ([rgb(SMALL, 1), rgb(FULL, 0), rgb(SECOND, 0)], False),
    "thumbnail of a page, page": ([rgb(SMALL, 3), rgb(FULL, 2)], False),
    "full, thumbnail": ([rgb(FULL, 0), rgb(SMALL, 1)], False),
    "full, thumbnail in a SubIFD": ([rgb(FULL, 0), rgb(SMALL, 1)], True),
    "full, full": ([rgb(FULL, 0), rgb(SECOND, 0)], False),
    "small and full, neither called a thumbnail": ([rgb(FULL), rgb(SMALL)], False),
    "first of two pages": ([rgb(FULL, 2), rgb(SECOND, 2)], False),
    "old tag: thumbnail, full": ([rgb(SMALL, t255=2), rgb(FULL, t255=1)], False),
}
REFUSED: dict[str, tuple[list[Directory], bool]] = {
    "thumbnail, sensor": ([rgb(SMALL, 1), sensor()], False),
    "thumbnail, sensor in a SubIFD": ([rgb(SMALL, 1), sensor()], True),
    "sensor": ([sensor()], False),
}


@pytest.mark.parametrize(
    ("order", "big"), [("<", False), (">", False), ("<", True)], ids=["little-endian", "big-endian", "BigTIFF"]
)
@pytest.mark.parametrize("case", RIGHT)
def test_the_first_full_image_is_the_image(case: str, order: str, big: bool) -> None:
    directories, sub = RIGHT[case]
    data = tiff(*directories, order=order, big=big, sub=sub)
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = [*file.pages, *(file.pages[0].pages or [])]
        assert any(np.array_equal(page.asarray(), FULL) for page in pages)
    assert_right(data, FULL)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_raw_file_is_refused_rather_than_its_thumbnail_taken(case: str, big: bool, order: str) -> None:
    directories, sub = REFUSED[case]
    assert_refused(tiff(*directories, order=order, big=big, sub=sub))


@pytest.mark.parametrize("case", RIGHT)
def test_a_big_endian_bigtiff_is_refused(case: str) -> None:
    directories, sub = RIGHT[case]
    assert_refused(tiff(*directories, order=">", big=True, sub=sub))  # Pillow reads its head as an older TIFF's


@pytest.mark.parametrize("way", LAZY)
@pytest.mark.parametrize("sub", [False, True], ids=["in a row", "SubIFD"])
def test_the_first_full_image_is_taken_on_every_way_in(sub: bool, way: str, tmp_path: Path) -> None:
    assert_right(LAZY[way](tiff(rgb(SMALL, 1), rgb(FULL, 0), sub=sub), tmp_path), FULL)


@pytest.mark.parametrize("sub", [False, True], ids=["in a row", "SubIFD"])
def test_a_thumbnail_that_pillow_has_decoded_is_refused(sub: bool, tmp_path: Path) -> None:
    assert_right_or_refused(LOADED["loaded PIL"](tiff(rgb(SMALL, 1), rgb(FULL, 0), sub=sub), tmp_path), FULL)
