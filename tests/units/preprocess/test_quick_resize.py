"""What is not exact is within 1 of what Pillow makes, and the same on every machine."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from clip_image_encoder import ClipPreprocess, NaflexPreprocess, OpenClipPreprocess
from clip_image_encoder.preprocess import _quick_resize
from clip_image_encoder.testing import check_preprocess
from tests.units.preprocess.reference_processors import noise

Preprocess = ClipPreprocess | NaflexPreprocess | OpenClipPreprocess

KINDS: dict[str, Preprocess] = {
    "CLIP": ClipPreprocess(resize=32, crop=(32, 32)),
    "DINOv2": ClipPreprocess(resize=36, crop=(32, 32)),
    "SigLIP": ClipPreprocess(resize=(32, 32), crop=None, resample=Resampling.BILINEAR),
    "wide": ClipPreprocess(resize=32, crop=(16, 30)),
    "open_clip": OpenClipPreprocess(size=(32, 32)),
    "open_clip, squash": OpenClipPreprocess(size=(24, 32), resize_mode="squash"),
    "open_clip, longest": OpenClipPreprocess(size=(32, 32), resize_mode="longest", fill_color=9),
    "NaFlex": NaflexPreprocess(patch_size=8, max_num_patches=16),
}
HOSTILE = [(1, 1), (1, 700), (700, 1), (2, 5000), (5000, 2), (65, 64), (64, 65), (40_000, 30), (30, 40_000), (3000, 90)]

# Older ones resize the rows first, of whatever shape the image is.
BEGINS_WITH_COLUMNS = int(PIL.__version__.split(".")[0]) >= 13
columns_first = pytest.mark.skipif(not BEGINS_WITH_COLUMNS, reason="Pillow 13 begins with columns")


def quick(preprocess: Preprocess, image: Image.Image) -> NDArray[np.int16]:
    return replace(preprocess, exact=False)(image).astype(np.int16)


def exact(preprocess: Preprocess, image: Image.Image) -> NDArray[np.int16]:
    return preprocess(image).astype(np.int16)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 500), height=st.integers(1, 500), black_and_white=st.booleans())
def test_no_value_differs_by_more_than_1(kind: str, width: int, height: int, black_and_white: bool) -> None:
    # Up to five quarters of the width, both passes come in one order in all versions.
    image = noise(width, min(height, 2 * width if BEGINS_WITH_COLUMNS else 5 * width // 4))
    if black_and_white:  # whose edges overshoot what 8 bits hold
        image = image.convert("L").point(lambda value: 255 * (value > 127)).convert("RGB")
    assert np.abs(quick(KINDS[kind], image) - exact(KINDS[kind], image)).max() <= 1


@columns_first
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20, deadline=None)
@given(width=st.integers(64, 200), times=st.integers(2, 10))
def test_no_value_of_a_tall_image_differs_by_more_than_1(kind: str, width: int, times: int) -> None:
    image = noise(width, times * width + 1)
    assert np.abs(quick(KINDS[kind], image) - exact(KINDS[kind], image)).max() <= 1


@columns_first
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", HOSTILE, ids=str)
def test_no_value_of_a_hostile_shape_differs_by_more_than_2(kind: str, size: tuple[int, int]) -> None:
    """By 2 where Pillow itself cuts a thin image before it resizes it."""
    image = noise(*size)
    assert np.abs(quick(KINDS[kind], image) - exact(KINDS[kind], image)).max() <= 2


def test_hardly_a_value_of_a_smooth_image_differs() -> None:
    image = noise(90, 64).resize((900, 640), Resampling.BICUBIC)
    assert 0 < np.mean(quick(ClipPreprocess(), image) != exact(ClipPreprocess(), image)) < 0.002


def test_an_image_of_less_than_twice_the_size_is_resized_by_pillow() -> None:
    image = noise(447, 447)
    np.testing.assert_array_equal(quick(ClipPreprocess(), image), exact(ClipPreprocess(), image))


@pytest.mark.parametrize("resample", [Resampling.NEAREST, Resampling.LANCZOS, Resampling.BOX], ids=str)
def test_another_filter_is_pillows(resample: Resampling) -> None:
    preprocess, image = replace(KINDS["CLIP"], resample=resample), noise(100, 90)
    np.testing.assert_array_equal(quick(preprocess, image), exact(preprocess, image))


@pytest.mark.parametrize("value", [0, 90, 255])
def test_an_image_of_one_color_keeps_it(value: int) -> None:
    image = Image.new("RGB", (517, 400), (value, 255 - value, 128))
    assert set(map(tuple, quick(ClipPreprocess(), image).reshape(-1, 3))) == {(value, 255 - value, 128)}


@settings(max_examples=40, deadline=None)
@given(width=st.integers(64, 700), height=st.integers(64, 700), resample=st.sampled_from([2, 3]))
def test_pixels_are_those_of_whole_numbers_that_no_processor_rounds(width: int, height: int, resample: int) -> None:
    image, size, resample = noise(width, height), (30, 21), Resampling(resample)
    values = np.asarray(image).astype(np.int64)
    passes = [(1, width, size[0]), (0, height, size[1])]
    if height - size[1] > 2 * (width - size[0]):
        passes.reverse()
    for axis, before, after in passes:
        lows, weights = _quick_resize._weights(before, after, 0, after, resample)
        row, tap = np.nonzero(weights)
        matrix = np.zeros((after, before), np.int64)
        matrix[row, lows[row] + tap] = weights[row, tap] * 2**15
        sums = np.moveaxis(np.tensordot(matrix, values, (1, axis)), 0, axis)
        values = ((sums + 2**14) >> 15).clip(0, 255)
    pixels = _quick_resize.resize_quickly(image, size, (0, 0), size, resample)
    np.testing.assert_array_equal(pixels, values)


@pytest.mark.parametrize("resample", [Resampling.BILINEAR, Resampling.BICUBIC], ids=str)
def test_no_sum_of_weights_is_more_than_float32_holds_exactly(resample: Resampling) -> None:
    for before in range(64, 2048, 31):
        _, weights = _quick_resize._weights(before, 32, 0, 32, resample)
        assert (255 * np.abs(weights).sum(axis=1)).max() < 2**9
        assert (weights.sum(axis=1) == 1).all()


def test_a_wide_image_is_unpacked_in_as_little_memory_as_any_other() -> None:
    preprocess, image = ClipPreprocess(resize=(32, 224), crop=(32, 224)), noise(14_000, 200)
    expected = exact(preprocess, image)
    tracemalloc.start()
    pixels = quick(preprocess, image)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 10_000_000  # all rows at once take 34 MB, 128 of them 22 MB
    assert np.abs(pixels - expected).max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_of_a_preprocess_is_kept(kind: str) -> None:
    check_preprocess(replace(KINDS[kind], exact=False))


def test_an_image_that_is_opened_and_not_read_yet_is_read(tmp_path: Path) -> None:
    noise(300, 200).save(tmp_path / "image.png")
    with Image.open(tmp_path / "image.png") as image:
        np.testing.assert_array_equal(quick(KINDS["CLIP"], image), quick(KINDS["CLIP"], noise(300, 200)))
