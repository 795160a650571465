"""A key of a processor's file is read, known to change no pixel, or refused by its name."""

from __future__ import annotations

from typing import Any

import pytest

from clip_image_encoder import ClipPreprocess, ConfigurationError
from tests.units.preprocess.processor_files import CLIP, SIGLIP_EARLIEST

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
