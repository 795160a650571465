"""ClipPreprocess gives the pixels of the reference processors, and costs little whatever the shape."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL.Image import Resampling

from clip_image_encoder import ClipPreprocess, ConfigurationError, PixelFormat
from tests.units.preprocess.processor_files import CLIP_2021
from tests.units.preprocess.reference_processors import noise, reference, reference_pixels

# What the hub's own checkpoints say, by the age of their files.
DINOV2 = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "BitImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}
SIGLIP = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "SiglipImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}
GOOGLE_VIT = {
    "do_normalize": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "size": 224,
    "feature_extractor_type": "ViTFeatureExtractor",
}
CONFIGS = {
    "CLIPImageProcessor": CLIP_2021,
    "BitImageProcessor": DINOV2,
    "SiglipImageProcessor": SIGLIP,
    "ViTImageProcessor": GOOGLE_VIT,
}
SIZES = [(640, 427), (427, 640), (224, 224), (225, 224), (223, 301), (31, 17), (1, 1), (3000, 200), (333, 1000)]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_those_of_the_reference(kind: str, size: tuple[int, int]) -> None:
    image = noise(*size)
    expected = reference_pixels(reference(kind, **CONFIGS[kind]), image)
    np.testing.assert_array_equal(ClipPreprocess.from_config(CONFIGS[kind])(image), expected)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_defaults_of_a_processor_are_known_where_its_file_leaves_them_out(kind: str) -> None:
    processor = reference(kind)
    preprocess = ClipPreprocess.from_config({"image_processor_type": kind})
    image = noise(300, 260)
    np.testing.assert_array_equal(preprocess(image), reference_pixels(processor, image))
    assert (preprocess.mean, preprocess.std) == (tuple(processor.image_mean), tuple(processor.image_std))


@pytest.mark.parametrize("kind", CONFIGS)
def test_a_file_that_the_processor_writes_is_read(kind: str) -> None:
    size: dict[str, Any] = {"crop_size": {"height": 48, "width": 64}} if kind == "CLIPImageProcessor" else {}
    written = reference(kind, **size).to_dict()
    image = noise(300, 260)
    np.testing.assert_array_equal(
        ClipPreprocess.from_config(written)(image), reference_pixels(reference(kind, **size), image)
    )


@settings(max_examples=60, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300), resize=st.integers(8, 80))
def test_any_ordinary_shape_gives_the_pixels_of_the_reference(width: int, height: int, resize: int) -> None:
    if max(width, height) > 16 * min(width, height):
        return
    config = {"size": {"shortest_edge": resize}, "crop_size": {"height": resize, "width": resize}}
    image = noise(width, height)
    expected = reference_pixels(reference("CLIPImageProcessor", **config), image)
    np.testing.assert_array_equal(ClipPreprocess.from_config(config)(image), expected)


def test_a_crop_that_is_larger_than_the_image_is_padded_with_black_as_the_reference_does() -> None:
    config = {"size": {"shortest_edge": 40}, "crop_size": {"height": 64, "width": 64}}
    image = noise(100, 60)
    expected = reference_pixels(reference("CLIPImageProcessor", **config), image)
    np.testing.assert_array_equal(ClipPreprocess.from_config(config)(image), expected)


@pytest.mark.parametrize(
    "steps",
    [
        {"rescale_factor": 1 / 127.5},
        {"do_rescale": False},
        {"do_normalize": False},
        {"do_normalize": False, "do_rescale": False},
    ],
    ids=str,
)
def test_mean_and_std_say_how_the_reference_scales_its_pixels(steps: dict[str, Any]) -> None:
    config = CLIP_2021 | {"size": 32, "crop_size": 32} | steps
    preprocess, image = ClipPreprocess.from_config(config), noise(50, 40)
    normalized = (preprocess(image) / 255 - np.array(preprocess.mean)) / np.array(preprocess.std)
    expected = reference("CLIPImageProcessor", **config)(images=image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(normalized.transpose(2, 0, 1), expected, rtol=1e-5, atol=1e-5)


def test_without_resizing_the_crop_is_taken_from_the_image_as_it_is() -> None:
    image = noise(100, 80)
    preprocess = ClipPreprocess.from_config({"do_resize": False, "crop_size": 32})
    np.testing.assert_array_equal(preprocess(image), np.asarray(image)[24:56, 34:66])


def test_siglip_2_of_any_aspect_ratio_gets_the_square_that_holds_its_patches() -> None:
    config = {"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 256, "patch_size": 16}
    preprocess = ClipPreprocess.from_config(config)
    assert preprocess.pixel_format == PixelFormat(size=(256, 256), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert preprocess.resample is Resampling.BILINEAR
    square = noise(300, 300)
    np.testing.assert_array_equal(preprocess(square), np.asarray(square.resize((256, 256), Resampling.BILINEAR)))


@pytest.mark.parametrize("size", [(4, 900), (900, 4), (7, 1000), (1, 3000), (3000, 1), (150, 6000)], ids=str)
def test_a_thin_image_has_the_pixels_of_resizing_it_whole_but_for_rounding(size: tuple[int, int]) -> None:
    preprocess, image = ClipPreprocess(resize=64, crop=(64, 64)), noise(*size)
    width, height = size
    scaled = (64, int(64 * height / width)) if width <= height else (int(64 * width / height), 64)
    whole = image.resize(scaled, Resampling.BICUBIC)
    left, top = (whole.width - 64) // 2, (whole.height - 64) // 2
    expected = np.asarray(whole.crop((left, top, left + 64, top + 64)), dtype=int)
    difference = np.abs(preprocess(image).astype(int) - expected)
    assert difference.max() <= 2
    assert (difference == 0).mean() > 0.5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no RLIMIT_AS")
@pytest.mark.parametrize("size", [(1, 65_535), (65_535, 1), (2, 30_000)], ids=str)
@pytest.mark.parametrize("resize", [224, (224, 224)], ids=str)
def test_the_thinnest_image_costs_no_more_memory_than_another(
    size: tuple[int, int], resize: int | tuple[int, int]
) -> None:
    program = (
        "import resource\n"
        "from PIL import Image\n"
        "from clip_image_encoder import ClipPreprocess\n"
        f"preprocess, image = ClipPreprocess(resize={resize}), Image.new('RGB', {size}, 'teal')\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, 1_000_000_000))\n"
        "pixels = preprocess(image)\n"
        "print(pixels.shape, pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(224, 224, 3) [  0 128 128] [  0 128 128]\n", "")


def test_the_image_is_not_changed() -> None:
    image = noise(60, 50)
    before = image.copy()
    ClipPreprocess()(image)
    assert image == before


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"crop": None}, "resize must be"),
        ({"crop": None, "resize": None}, "resize must be"),
        ({"crop": (0, 224)}, "positive"),
        ({"resize": 0}, "positive"),
        ({"crop": None, "resize": (224, -1)}, "positive"),
        ({"std": (0.5, 0.0, 0.5)}, "std"),
    ],
    ids=str,
)
def test_settings_without_one_fixed_size_are_refused(settings_: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ClipPreprocess(**settings_)


@pytest.mark.parametrize(
    "config",
    [
        {"size": {"longest_edge": 224}, "do_center_crop": False},
        {"size": {"shortest_edge": 224}, "do_center_crop": False},
        {"size": "large", "do_center_crop": False},
        {"crop_size": {"shortest_edge": 224}},
        {"resample": 17},
        {"resample": "bicubic"},
        {"image_mean": [0.5]},
        {"image_std": [0, 0, 0]},
        {"rescale_factor": "1/255"},
        {"rescale_factor": 0},
        {"size": {"shortest_edge": float("inf")}},
    ],
    ids=str,
)
def test_a_file_that_asks_for_something_else_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        ClipPreprocess.from_config(config)


def test_it_is_its_configuration() -> None:
    preprocess = ClipPreprocess(resize=32, crop=(32, 32))
    assert preprocess == ClipPreprocess(resize=32, crop=(32, 32))
    assert replace(preprocess, crop=(16, 24)).pixel_format.size == (16, 24)
    with pytest.raises(FrozenInstanceError):
        preprocess.resize = 64  # type: ignore[misc]  # as a user might try
