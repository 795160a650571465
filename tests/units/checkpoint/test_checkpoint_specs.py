"""What a config says about the towers, and the configs that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from clip_image_encoder.checkpoint.transformers import FORMAT
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models import available_families
from clip_image_encoder.models._transformers import build_model

vision_spec, text_spec = FORMAT.vision, FORMAT.text

TOWER: dict[str, Any] = {"image_size": 32, "patch_size": 8, "num_patches": 16, "max_position_embeddings": 12}


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2"])
@pytest.mark.parametrize("whole", [True, False])
def test_both_towers_are_found_in_a_whole_model_and_alone(family: str, whole: bool) -> None:
    nested = {"model_type": family, "vision_config": TOWER, "text_config": TOWER}
    vision = vision_spec(nested if whole else TOWER | {"model_type": f"{family}_vision_model"}, "name")
    text = text_spec(nested if whole else TOWER | {"model_type": f"{family}_text_model"}, "name")
    assert (vision.image_size, vision.patch_size) == ((32, 32), 8)
    assert text.max_length == 12


def test_a_size_may_be_a_height_and_a_width() -> None:
    assert vision_spec(TOWER | {"model_type": "vit", "image_size": [32, 48]}, "name").image_size == (32, 48)


@pytest.mark.parametrize(
    ("family", "any_size"),
    [("vit", False), ("dinov2", True), ("clip_vision_model", False), ("siglip2_vision_model", True)],
)
def test_only_some_families_are_made_for_other_sizes(family: str, any_size: bool) -> None:
    assert vision_spec(TOWER | {"model_type": family}, "name").any_size is any_size


@pytest.mark.parametrize("tower", [{}, {"vision_config": None, "text_config": None}])
def test_a_tower_that_the_config_says_nothing_about_has_the_defaults(tower: dict[str, None]) -> None:
    config = {"model_type": "clip", **tower}
    assert vision_spec(config, "name").image_size == (224, 224)
    assert text_spec(config, "name").max_length == 77


def test_the_width_of_the_joint_space_is_the_top_levels() -> None:
    config = {"model_type": "clip", "projection_dim": 6, "vision_config": TOWER | {"projection_dim": 512}}
    model = build_model("CLIPVisionModelWithProjection", config, "vision_config", name="name")
    assert model.config.projection_dim == 6


@pytest.mark.parametrize("model_type", ["no-such-model", "", None, "CLIP", ["clip"]])
def test_another_model_is_refused_with_those_that_are_supported(model_type: object) -> None:
    *some, last = available_families()
    for spec in (vision_spec, text_spec):
        with pytest.raises(CheckpointError, match=f"name: .* supported are {', '.join(some)} and {last}$"):
            spec({"model_type": model_type}, "name")


def test_a_model_of_transformers_that_takes_no_images_is_refused_with_its_class() -> None:
    for spec in (vision_spec, text_spec):
        with pytest.raises(CheckpointError, match=r"name: a model of type 'bert' .* transformers' BertModel takes no"):
            spec({"model_type": "bert"}, "name")


def test_a_config_without_model_type_is_refused() -> None:
    with pytest.raises(CheckpointError, match="model_type None"):
        vision_spec({}, "name")


def test_code_of_its_own_is_never_executed() -> None:
    config = {"model_type": "mine", "auto_map": {"AutoModel": "modeling_mine.Mine"}}
    with pytest.raises(CheckpointError, match="never executed"):
        vision_spec(config, "name")


@pytest.mark.parametrize("model_type", ["clip_text_model", "siglip_text_model", "siglip2_text_model"])
def test_a_text_tower_sees_no_images(model_type: str) -> None:
    with pytest.raises(CheckpointError, match="no vision tower"):
        vision_spec({"model_type": model_type}, "name")


@pytest.mark.parametrize("model_type", ["dinov2", "vit", "clip_vision_model"])
def test_a_vision_tower_reads_no_texts(model_type: str) -> None:
    with pytest.raises(CheckpointError, match="no text tower"):
        text_spec({"model_type": model_type}, "name")


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "clip", "vision_config": "large"},
        {"model_type": "clip", "vision_config": {"patch_size": "big"}},
        {"model_type": "vit", "patch_size": None},
        {"model_type": "vit", "image_size": []},
        {"model_type": "siglip2_vision_model", "num_patches": "many"},
    ],
)
def test_a_config_that_makes_no_sense_is_a_checkpoint_error(config: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match=r"name: config\.json"):
        vision_spec(config, "name")
