"""What a processor's file asks for is done as transformers does it, or refused by the key that asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from clip_image_encoder import ClipPreprocess, ConfigurationError
from tests.preprocess.references import noise, reference, reference_pixels

CLIP_STATISTICS = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
HALF = [0.5, 0.5, 0.5]
CLIP_2021 = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "resample": 3,
    "size": 224,
    **CLIP_STATISTICS,
}
CLIP = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "CLIPImageProcessor",
    "processor_class": "CLIPProcessor",
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
    **CLIP_STATISTICS,
}
SIGLIP_EARLIEST = {
    "do_rescale": True,
    "do_resize": True,
    "image_processor_type": "SiglipImageProcessor",
    "processor_class": "SiglipProcessor",
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}
SIGLIP = SIGLIP_EARLIEST | {"do_normalize": True, "resample": 3, "image_mean": HALF, "image_std": HALF}
DINOV3 = {
    "crop_size": None,
    "data_format": "channels_first",
    "default_to_square": True,
    "device": None,
    "disable_grouping": None,
    "do_center_crop": None,
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "image_std": [0.229, 0.224, 0.225],
    "input_data_format": None,
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "return_tensors": None,
    "size": {"height": 224, "width": 224},
}
ALIGN = {
    "crop_size": {"height": 289, "width": 289},
    "do_center_crop": True,
    "do_normalize": False,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": HALF,
    "image_processor_type": "EfficientNetImageProcessor",
    "image_std": HALF,
    "include_top": False,
    "resample": 2,
    "rescale_factor": 0.00784313725490196,
    "rescale_offset": True,
    "size": {"height": 346, "width": 346},
}
DEIT_2021 = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "DeiTFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "size": 256,
}

# Files of the hub, by the values in them, and the class of transformers that reads each.
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "CLIP of 2021": ("CLIPImageProcessor", CLIP_2021),
    "CLIP of 2022": ("CLIPImageProcessor", CLIP_2021 | {"do_convert_rgb": True}),
    "CLIP": ("CLIPImageProcessor", CLIP),
    "CLIP, named by two classes": ("CLIPImageProcessor", CLIP | {"feature_extractor_type": "CLIPFeatureExtractor"}),
    "SigLIP": ("SiglipImageProcessor", SIGLIP),
    "SigLIP with early keys": (
        "SiglipImageProcessor",
        SIGLIP_EARLIEST | {"do_normalize": True, "resample": 3, "mean": HALF, "std": HALF},
    ),
    "SigLIP, earliest": ("SiglipImageProcessor", SIGLIP_EARLIEST),
    "SigLIP 2 of one size": ("SiglipImageProcessor", SIGLIP | {"resample": 2, "do_convert_rgb": None}),
    "DeiT of 2021": ("DeiTImageProcessor", DEIT_2021),
    "Chinese-CLIP": (
        "ChineseCLIPImageProcessor",  # in transformers 4 it can't do a short side
        CLIP | {"image_processor_type": "ChineseCLIPImageProcessor", "size": {"height": 224, "width": 224}},
    ),
    "BLIP": (
        "BlipImageProcessor",
        {"image_processor_type": "BlipImageProcessor", "size": {"height": 384, "width": 384}, **CLIP_STATISTICS},
    ),
}
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


STEPS = {
    "do_affine_transform": True,
    "do_align_long_axis": True,
    "do_crop_margin": True,
    "do_flip_channel_order": True,
    "do_grayscale": True,
    "do_image_splitting": True,
    "do_pad": True,
    "do_something_new": True,
    "do_thumbnail": True,
    "crop_pct": 0.875,
    "crop_to_patches": True,
    "ensure_multiple_of": 14,
    "image_grid_pinpoints": [[336, 672]],
    "include_top": True,
    "interpolation": "bicubic",
    "keep_aspect_ratio": True,
    "max_num_patches": 256,
    "max_pixels": 1_000_000,
    "rescale_offset": True,
    "resize_mode": "longest",
    "size_divisor": 32,
    "use_square_size": True,
}


@pytest.mark.parametrize("key", STEPS)
def test_a_step_that_is_not_known_is_refused_by_its_key(key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"preprocessor_config\.json: .*\b{key}\b.*pass preprocess="):
        ClipPreprocess.from_config(CLIP | {key: STEPS[key]})


@pytest.mark.parametrize("off", [False, None], ids=str)
def test_steps_that_are_switched_off_are_no_steps(off: bool | None) -> None:
    assert ClipPreprocess.from_config(CLIP | dict.fromkeys(STEPS, off)) == ClipPreprocess.from_config(CLIP)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_processor_class", "CLIPProcessor"),
        ("_valid_processor_keys", ["images", "do_resize", "do_pad"]),
        ("auto_map", {"AutoImageProcessor": "image_processing.Better"}),
        ("data_format", "channels_last"),
        ("default_to_square", True),  # size is no single number
        ("device", "cuda"),
        ("disable_grouping", True),
        ("do_convert_rgb", False),  # every image is RGB by now
        ("do_pad", False),
        ("do_reduce_labels", True),
        ("input_data_format", "channels_last"),
        ("note", "trained by hand"),
        ("pad_size", {"height": 512, "width": 512}),  # do_pad is off
        ("patch_size", 14),
        ("return_tensors", "pt"),
    ],
)
def test_a_key_that_changes_no_pixel_is_ignored(key: str, value: object) -> None:
    assert ClipPreprocess.from_config(CLIP | {key: value}) == ClipPreprocess.from_config(CLIP)


@pytest.mark.parametrize(
    "key", ["do_center_crop", "crop_size", "do_convert_rgb", "do_rescale", "resample", "image_mean"]
)
def test_null_is_what_the_class_does_by_default(key: str) -> None:
    assert ClipPreprocess.from_config(CLIP | {key: None}) == ClipPreprocess.from_config(CLIP)


@pytest.mark.parametrize("key", ["mean", "std"])
def test_an_early_key_that_transformers_ignores_is_refused_where_it_says_something_else(key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"\b{key}=.*image_{key}.*pass preprocess="):
        ClipPreprocess.from_config(SIGLIP_EARLIEST | {key: [0.4, 0.4, 0.4]})
    assert ClipPreprocess.from_config(SIGLIP_EARLIEST | {key: [0.4, 0.4, 0.4], "do_normalize": False}).std == (1, 1, 1)


# What one number means as `size` is a matter of the class, whether or not a crop follows.
@pytest.mark.parametrize(
    ("config", "resize"),
    [
        ({"image_processor_type": "CLIPImageProcessor"}, 240),
        ({"image_processor_type": "CLIPImageProcessor", "default_to_square": True}, (240, 240)),
        ({"image_processor_type": "DeiTImageProcessor"}, (240, 240)),
        ({"image_processor_type": "ViTImageProcessor"}, (240, 240)),
        ({"image_processor_type": "ViTImageProcessor", "do_center_crop": True, "crop_size": 224}, (240, 240)),
    ],
    ids=str,
)
def test_one_number_as_size_is_what_the_class_takes_it_for(config: dict[str, Any], resize: object) -> None:
    assert ClipPreprocess.from_config(config | {"size": 240}).resize == resize


@pytest.mark.parametrize(
    "config",
    [
        {"image_processor_type": "CLIPImageProcessor", "size": 224, "do_center_crop": False},
        {"image_processor_type": "SiglipImageProcessor", "size": 224},
        {"image_processor_type": "SiglipImageProcessor", "size": {"shortest_edge": 224}},
        {"image_processor_type": "ViTImageProcessor", "do_resize": False},
    ],
    ids=str,
)
def test_a_file_that_leaves_images_at_several_sizes_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"without do_center_crop.*not all of one size.*pass preprocess="):
        ClipPreprocess.from_config(config)


@pytest.mark.parametrize(
    "size",
    [
        {"longest_edge": 224},
        {"shortest_edge": 224, "longest_edge": 400},
        {"max_height": 224, "max_width": 224},
        {"min_pixels": 1, "max_pixels": 50_176},
        [224],
        "224",
    ],
    ids=str,
)
def test_a_size_of_another_kind_is_refused(size: object) -> None:
    with pytest.raises(ConfigurationError, match=r"can't read size=.*pass preprocess="):
        ClipPreprocess.from_config(CLIP | {"size": size})


@pytest.mark.parametrize("resample", ["bicubic", 17])
def test_a_filter_that_is_no_number_of_pillow_is_refused(resample: object) -> None:
    with pytest.raises(ConfigurationError, match=r"resample=.*Pillow.*pass preprocess="):
        ClipPreprocess.from_config(CLIP | {"resample": resample})


@pytest.mark.parametrize("kind", ["LevitImageProcessor", "PerceiverImageProcessor", "ToyFeatureExtractor"])
def test_a_class_that_is_not_known_is_refused_even_where_its_file_says_everything(kind: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{kind}.*known are .*CLIP.*pass preprocess="):
        ClipPreprocess.from_config(CLIP | {"image_processor_type": kind})


@pytest.mark.parametrize("kind", ["ToyImageProcessor", None])
def test_a_class_whose_code_lies_beside_the_file_is_refused(kind: str | None) -> None:
    code = {"auto_map": {"AutoImageProcessor": "image_processing.Toy"}, "image_processor_type": kind}
    with pytest.raises(ConfigurationError, match=r"auto_map.*never executed.*pass preprocess="):
        ClipPreprocess.from_config(CLIP | code)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"image_processor_type": "ViTImageProcessor", "do_center_crop": True}, "crop_size"),
        ({"image_processor_type": "EfficientNetImageProcessor"}, "resample"),
    ],
    ids=str,
)
def test_a_file_that_leaves_out_what_its_class_has_no_default_for_is_refused(config: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{key} is missing.*pass preprocess="):
        ClipPreprocess.from_config(config)
