"""open_clip's preprocessing; tests/promises/beside_open_clip compares its pixels with open_clip's own."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from clip_image_encoder import ClipPreprocess, ConfigurationError, OpenClipPreprocess
from clip_image_encoder.preprocess import preprocess_of


def columns(image: Image.Image) -> Image.Image:
    """Return an image in which the value of a pixel is the number of its column."""
    values = np.broadcast_to(np.arange(image.width, dtype=np.uint8)[None, :, None], (image.height, image.width, 3))
    return Image.fromarray(values.copy())


@pytest.mark.parametrize(("left_out", "start"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3), (7, 4)])
def test_the_crop_starts_at_half_of_what_is_left_out_rounded_half_to_even(left_out: int, start: int) -> None:
    image = columns(Image.new("RGB", (8 + left_out, 8)))
    pixels = OpenClipPreprocess(size=(8, 8))(image)
    assert pixels[0, :, 0].tolist() == list(range(start, start + 8))


def test_transformers_processor_starts_it_one_pixel_earlier_in_one_image_of_four() -> None:
    image = columns(Image.new("RGB", (11, 8)))
    assert ClipPreprocess(resize=8, crop=(8, 8))(image)[0, 0, 0] == 1
    assert OpenClipPreprocess(size=(8, 8))(image)[0, 0, 0] == 2


def test_squash_scales_both_sides() -> None:
    image = Image.new("RGB", (40, 10), "white")
    pixels = OpenClipPreprocess(size=(8, 6), resize_mode="squash")(image)
    assert pixels.shape == (8, 6, 3)
    assert (pixels == 255).all()


def test_longest_fits_the_image_in_and_fills_the_rest_around_it() -> None:
    pixels = OpenClipPreprocess(size=(8, 8), resize_mode="longest", fill_color=9)(Image.new("RGB", (16, 8), "white"))
    assert pixels[:, 0, 0].tolist() == [9, 9, 255, 255, 255, 255, 9, 9]


def test_of_an_odd_number_of_rows_to_fill_one_more_is_below() -> None:
    pixels = OpenClipPreprocess(size=(8, 8), resize_mode="longest")(Image.new("RGB", (8, 5), "white"))
    assert pixels[:, 0, 0].tolist() == [0, 255, 255, 255, 255, 255, 0, 0]


@pytest.mark.parametrize("shape", [(3000, 1), (1, 3000)])
def test_an_image_of_one_pixels_width_fits_in(shape: tuple[int, int]) -> None:
    pixels = OpenClipPreprocess(size=(8, 8), resize_mode="longest")(Image.new("RGB", shape, "white"))
    assert pixels.any()


def test_a_size_that_is_no_square_is_covered_and_cropped() -> None:
    pixels = OpenClipPreprocess(size=(4, 8))(Image.new("RGB", (30, 30), "white"))
    assert pixels.shape == (4, 8, 3)
    assert (pixels == 255).all()


def test_a_thin_image_costs_no_more_memory_than_another() -> None:
    image = Image.new("RGB", (60_000, 20), "teal")
    tracemalloc.start()
    pixels = OpenClipPreprocess()(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (pixels == (0, 128, 128)).all()
    assert peak < 2_000_000


def test_what_a_config_leaves_out_is_open_clips_default() -> None:
    assert OpenClipPreprocess.from_config({}) == OpenClipPreprocess()


def test_a_config_is_read() -> None:
    config: dict[str, Any] = {
        "size": [48, 32],
        "mode": "RGB",
        "mean": [0.1, 0.2, 0.3],
        "std": 0.5,
        "interpolation": "bilinear",
        "resize_mode": "longest",
        "fill_color": 7,
        "a_note": "of its author",
    }
    assert OpenClipPreprocess.from_config(config) == OpenClipPreprocess(
        size=(48, 32),
        mean=(0.1, 0.2, 0.3),
        std=(0.5, 0.5, 0.5),
        resample=Resampling.BILINEAR,
        resize_mode="longest",
        fill_color=7,
    )


def test_the_filter_is_always_bicubic_where_open_clip_does_not_pass_it_on() -> None:
    config = {"size": [48, 32], "interpolation": "bilinear"}
    assert OpenClipPreprocess.from_config(config).resample is Resampling.BICUBIC


@pytest.mark.parametrize(
    "config",
    [
        {"interpolation": "lanczos"},
        {"resize_mode": "shorter"},
        {"mode": "L"},
        {"mean": [0.5, 0.5]},
        {"fill_color": 300},
        {"fill_color": [1, 2, 3]},
    ],
)
def test_what_open_clip_does_not_know_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(config))):
        OpenClipPreprocess.from_config(config)


def test_a_checkpoints_settings_say_that_they_are_open_clips() -> None:
    assert preprocess_of({"image_processor_type": "OpenClip", "size": (32, 32)}) == OpenClipPreprocess(size=(32, 32))


def test_it_pickles() -> None:
    preprocess = OpenClipPreprocess(size=(8, 8))
    assert pickle.loads(pickle.dumps(preprocess)) == preprocess
