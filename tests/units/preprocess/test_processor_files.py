"""Pixels of the files that are on the hub are those of their classes in transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from clip_image_encoder import ClipPreprocess
from tests.units.preprocess.processor_files import ALIGN, DINOV3, FILES
from tests.units.preprocess.reference_processors import noise, reference, reference_pixels

SIZES = [
    *[(400, 400), (403, 401), (640, 480), (480, 640), (640, 360), (361, 640)],
    *[(600, 200), (201, 600), (700, 100), (101, 705), (960, 61), (64, 1000)],
]


@pytest.mark.parametrize(("kind", "config"), FILES.values(), ids=FILES)
def test_pixels_of_a_real_file_are_those_of_its_class(kind: str, config: dict[str, Any]) -> None:
    processor, preprocess = reference(kind, **config), ClipPreprocess.from_config(config)
    for size in SIZES:
        np.testing.assert_array_equal(
            preprocess(noise(*size)), reference_pixels(processor, noise(*size)), err_msg=str(size)
        )


@pytest.mark.parametrize(("kind", "config"), FILES.values(), ids=FILES)
def test_pixels_of_photos_are_those_of_its_class(kind: str, config: dict[str, Any], photo_paths: list[Path]) -> None:
    processor, preprocess = reference(kind, **config), ClipPreprocess.from_config(config)
    for path in photo_paths:
        with Image.open(path) as photo:
            np.testing.assert_array_equal(preprocess(photo), reference_pixels(processor, photo))


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        *FILES.values(),
        ("EfficientNetImageProcessor", ALIGN),
        ("EfficientNetImageProcessor", ALIGN | {"do_normalize": True}),
    ]
    + [("EfficientNetImageProcessor", ALIGN | {"include_top": True, "do_normalize": on}) for on in (True, False)]
    + [("EfficientNetImageProcessor", ALIGN | {"rescale_offset": False, "do_center_crop": False})],
    ids=[*FILES, "ALIGN", "ALIGN, normalized", "ALIGN, twice", "ALIGN, top only", "ALIGN without offset and crop"],
)
def test_mean_and_std_scale_pixels_as_its_class_does(kind: str, config: dict[str, Any]) -> None:
    preprocess, image = ClipPreprocess.from_config(config), noise(300, 260)
    normalized = (preprocess(image) / 255 - np.array(preprocess.mean)) / np.array(preprocess.std)
    expected = reference(kind, **config)(images=image, return_tensors="np")["pixel_values"][0]
    np.testing.assert_allclose(normalized.transpose(2, 0, 1), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["BlipImageProcessor", "DeiTImageProcessor"])
def test_the_defaults_of_a_class_are_known_where_its_file_leaves_them_out(kind: str) -> None:
    processor, preprocess = reference(kind), ClipPreprocess.from_config({"image_processor_type": kind})
    image = noise(300, 260)
    np.testing.assert_array_equal(preprocess(image), reference_pixels(processor, image))
    assert (preprocess.mean, preprocess.std) == (tuple(processor.image_mean), tuple(processor.image_std))


@pytest.mark.parametrize(
    ("said", "size"),
    [
        ({}, (256, 256)),
        ({"patch_size": 14}, (224, 224)),
        ({"max_num_patches": 1024}, (512, 512)),
        ({"max_num_patches": 1024, "size": {"height": 32, "width": 48}}, (512, 512)),
        ({"size": {"height": 32, "width": 48}}, (32, 48)),
        ({"size": 32}, (32, 32)),
    ],
    ids=str,
)
def test_siglip_2_of_any_aspect_ratio_gets_the_square_of_its_patches_unless_a_size_is_asked_for(
    said: dict[str, Any], size: tuple[int, int]
) -> None:
    config = {"image_processor_type": "Siglip2ImageProcessorFast", "do_convert_rgb": None} | said
    assert ClipPreprocess.from_config(config).pixel_format.size == size


def test_a_dinov3_file_that_is_full_of_nulls_is_read() -> None:
    assert ClipPreprocess.from_config(DINOV3) == ClipPreprocess(
        resize=(224, 224),
        crop=None,
        resample=Resampling.BILINEAR,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
