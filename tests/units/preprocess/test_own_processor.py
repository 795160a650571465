"""The image processor of transformers of a model without a family's file: its pixels, and what is refused."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from clip_image_encoder import ClipPreprocess, ConfigurationError, MissingExtraError, PixelFormat
from clip_image_encoder._fingerprint import describe_component
from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.preprocess import preprocess_of
from clip_image_encoder.preprocess._own_processor import OwnProcessor
from clip_image_encoder.testing import check_preprocess

from .reference_processors import noise, reference

FILES: dict[str, dict[str, Any]] = {
    "BeitImageProcessor": {"size": {"height": 64, "width": 64}},
    "ConvNextImageProcessor": {"size": {"shortest_edge": 56}, "crop_pct": 0.875},
    "LevitImageProcessor": {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}},
    "MobileNetV2ImageProcessor": {"size": {"shortest_edge": 64}, "crop_size": {"height": 56, "width": 56}},
    "MobileViTImageProcessor": {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}},
    "OwlViTImageProcessor": {"size": {"height": 96, "width": 96}},
    "PoolFormerImageProcessor": {
        "size": {"shortest_edge": 64},
        "crop_pct": 0.9,
        "crop_size": {"height": 56, "width": 56},
    },
}
SIZES = [(64, 64), (80, 60), (60, 80), (96, 54), (54, 96), (120, 40), (40, 120), (99, 66), (31, 93), (200, 25)]
SIZES += [(3, 50), (50, 3)]
PHOTOS = [Image.fromarray(photo) for photo in load_sample_images().images]


@pytest.fixture(params=FILES)
def file(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"image_processor_type": request.param, **FILES[request.param]}


def pixels_of_reference(file: dict[str, Any], image: Image.Image) -> NDArray[np.float32]:
    settings = {key: value for key, value in file.items() if key != "image_processor_type"}
    processor = reference(file["image_processor_type"], **settings)
    # transformers 4 takes an image that is three pixels high for one whose channels come first.
    processed = processor(images=image, return_tensors="np", input_data_format="channels_last")
    pixels: NDArray[np.float32] = processed["pixel_values"][0]
    return pixels


@pytest.mark.parametrize("photo", PHOTOS, ids=["china", "flower"])
def test_pixels_of_a_photo_are_those_of_the_processor(file: dict[str, Any], photo: Image.Image) -> None:
    np.testing.assert_array_equal(preprocess_of(file)(photo), pixels_of_reference(file, photo))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_at_any_aspect_ratio_are_those_of_the_processor(file: dict[str, Any], size: tuple[int, int]) -> None:
    image = noise(*size)
    np.testing.assert_array_equal(preprocess_of(file)(image), pixels_of_reference(file, image))


def test_a_file_that_the_processor_writes_is_read(file: dict[str, Any]) -> None:
    settings = {key: value for key, value in file.items() if key != "image_processor_type"}
    written = json.loads(reference(file["image_processor_type"], **settings).to_json_string())
    np.testing.assert_array_equal(preprocess_of(written)(PHOTOS[0]), pixels_of_reference(file, PHOTOS[0]))


@pytest.mark.parametrize("name", ["LevitFeatureExtractor", "LevitImageProcessorFast", "LevitImageProcessorPil"])
def test_other_names_of_a_class_are_read_as_it(name: str) -> None:
    file = {"image_processor_type": "LevitImageProcessor"}
    expected = preprocess_of(file)(PHOTOS[0])
    np.testing.assert_array_equal(preprocess_of({"image_processor_type": name})(PHOTOS[0]), expected)


def test_a_class_whose_steps_are_known_is_a_clip_preprocess() -> None:
    assert isinstance(preprocess_of({"image_processor_type": "ViTImageProcessor"}), ClipPreprocess)


def test_clip_preprocess_itself_refuses_the_same_file(file: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="is not known"):
        ClipPreprocess.from_config(file)


def test_its_pixels_are_normalized_already(file: dict[str, Any]) -> None:
    preprocess = preprocess_of(file)
    size = pixels_of_reference(file, PHOTOS[0]).shape[1:]
    assert preprocess.pixel_format == PixelFormat(size=size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def test_it_keeps_the_contract_of_preprocesses(file: dict[str, Any]) -> None:
    check_preprocess(preprocess_of(file))


def test_it_is_its_configuration(file: dict[str, Any]) -> None:
    preprocess = preprocess_of(file)
    again = pickle.loads(pickle.dumps(preprocess))
    assert again == preprocess
    assert describe_component(again) == describe_component(preprocess)
    np.testing.assert_array_equal(again(PHOTOS[0]), preprocess(PHOTOS[0]))


def test_other_settings_have_another_fingerprint() -> None:
    kind = "ConvNextImageProcessor"
    files = [{"image_processor_type": kind, "size": {"shortest_edge": 56}, "crop_pct": value} for value in (0.8, 0.9)]
    described = {describe_component(preprocess_of(file)) for file in files}
    assert len(described) == 2


def test_several_threads_get_the_pixels_of_one(file: dict[str, Any]) -> None:
    preprocess, images = preprocess_of(file), [noise(*size) for size in SIZES]
    expected = [preprocess(image) for image in images]
    with ThreadPoolExecutor(4) as threads:
        for pixels, alone in zip(threads.map(preprocess, images * 4), expected * 4, strict=True):
            np.testing.assert_array_equal(pixels, alone)


def test_the_image_is_not_changed(file: dict[str, Any]) -> None:
    image = PHOTOS[0].copy()
    preprocess_of(file)(image)
    assert image == PHOTOS[0]


@pytest.mark.parametrize("kind", ["DetrImageProcessor", "YolosImageProcessor", "GLPNImageProcessor"])
def test_a_processor_that_keeps_the_aspect_ratio_is_refused(kind: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{kind} makes pixels of the shapes .* pass preprocess= instead"):
        preprocess_of({"image_processor_type": kind})


def test_a_processor_of_several_crops_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="LlavaNextImageProcessor makes pixels of the shapes"):
        preprocess_of({"image_processor_type": "LlavaNextImageProcessor"})


def test_a_class_that_transformers_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="transformers has no image processor 'OtherImageProcessor'"):
        preprocess_of({"image_processor_type": "OtherImageProcessor"})


def test_a_file_that_makes_no_sense_to_the_processor_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ConvNextImageProcessor makes no pixels of an image"):
        preprocess_of({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": "x"}})


def test_code_of_its_own_is_refused() -> None:
    file = {"image_processor_type": "LevitImageProcessor", "auto_map": {"AutoImageProcessor": "processing.Own"}}
    with pytest.raises(ConfigurationError, match="code of its own"):
        preprocess_of(file)


def test_a_package_that_is_missing_is_named() -> None:
    pytest.importorskip("transformers", minversion="5")
    try:
        preprocess_of({"image_processor_type": "LayoutLMv3ImageProcessor"})
    except MissingExtraError as error:
        assert "python -m pip install" in str(error)
    else:
        pytest.skip("pytesseract is installed")


def test_a_needle_is_refused_before_it_costs_memory() -> None:
    preprocess = OwnProcessor.from_config({"image_processor_type": "LevitImageProcessor"})
    with pytest.raises(UnsupportedImageError, match="image of 65000 x 1 pixels: one side is more than 500 times"):
        preprocess(Image.new("RGB", (65_000, 1)))
