"""NaFlex images: the reference's sizes and pixels, at any aspect ratio."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import ClipPreprocess, ConfigurationError, NaflexPreprocess, PixelFormat
from clip_image_encoder.preprocess import preprocess_of
from clip_image_encoder.testing import check_preprocess

try:
    from transformers.models.siglip2.image_processing_pil_siglip2 import (
        Siglip2ImageProcessorPil as Reference,
    )
except ImportError:  # transformers 4
    from transformers.models.siglip2.image_processing_siglip2 import (  # type: ignore[assignment]
        Siglip2ImageProcessor as Reference,
    )

SIZES = [(640, 480), (480, 640), (500, 500), (1000, 90), (33, 700)]
# But for rows of one pixel, of which transformers 4 takes the height for the channels.
SIZES += [(16, 16), (1, 2), (2, 900), (256, 256), (1920, 1080)]
SIDES = st.integers(1, 3000)


def reference(image: Image.Image, **settings: Any) -> NDArray[np.uint8]:
    """Return the pixels that transformers makes, put together again from their patches."""
    processor = Reference(do_rescale=False, do_normalize=False, **settings)
    given = processor(images=image, return_tensors="np")
    rows, columns = given["spatial_shapes"][0]
    size = processor.patch_size
    patches = given["pixel_values"][0][: rows * columns].reshape(rows, columns, size, size, 3)
    pixels = patches.transpose(0, 2, 1, 3, 4).reshape(rows * size, columns * size, 3)
    return np.asarray(pixels, dtype=np.uint8)


def noise(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(width + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_those_of_the_reference(size: tuple[int, int]) -> None:
    image = noise(*size)
    np.testing.assert_array_equal(NaflexPreprocess()(image), reference(image))


@given(width=SIDES, height=SIDES, patches=st.integers(1, 1024), size=st.sampled_from([8, 14, 16]))
@settings(max_examples=60, deadline=None)
def test_any_shape_has_the_size_of_the_reference(width: int, height: int, patches: int, size: int) -> None:
    module: Any = sys.modules[Reference.__module__]
    wanted = module.get_image_size_for_max_num_patches(height, width, size, patches)
    assert NaflexPreprocess(patch_size=size, max_num_patches=patches)._size(height, width) == wanted


def test_a_photo_keeps_its_aspect_ratio() -> None:
    assert NaflexPreprocess()(noise(640, 480)).shape == (224, 288, 3)


def test_it_keeps_the_protocol() -> None:
    check_preprocess(NaflexPreprocess(patch_size=8, max_num_patches=30))


def test_a_checkpoints_file_is_read() -> None:
    config = {
        "image_processor_type": "Siglip2ImageProcessorFast",
        "max_num_patches": 729,
        "patch_size": 14,
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.3, 0.4],
    }
    preprocess = preprocess_of(config)
    assert isinstance(preprocess, NaflexPreprocess)
    assert (preprocess.patch_size, preprocess.max_num_patches) == (14, 729)
    assert preprocess.pixel_format == PixelFormat(size=None, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))


def test_a_file_without_numbers_means_those_of_the_reference() -> None:
    config = {"image_processor_type": "Siglip2ImageProcessorFast", "max_num_patches": None}
    assert preprocess_of(config) == NaflexPreprocess()


def test_squashing_to_a_square_stays_possible_when_it_is_asked_for() -> None:
    config = {"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 256, "patch_size": 16}
    assert ClipPreprocess.from_config(config).pixel_format.size == (256, 256)


@pytest.mark.parametrize("wrong", [{"patch_size": 0}, {"max_num_patches": 2.5}, {"std": (0.5, 0.0, 0.5)}], ids=str)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        NaflexPreprocess(**wrong)
