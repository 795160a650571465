"""What a config leaves out means what it means to transformers; the families' files repeat its defaults by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AltCLIPConfig, ChineseCLIPConfig, CLIPConfig, CLIPModel, CLIPSegConfig

from clip_image_encoder.backends.torch import TorchBackend, TorchTextBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.checkpoint.transformers import FORMAT
from clip_image_encoder.models import VisionSpec
from tests.units.backends.conftest import Saved as SavedTower
from tests.units.backends.families import IMAGE_SIZE, PIXEL_FORMAT, normalize, scramble

from .conftest import save_without_defaults
from .references import TEXT, VISION, no_tokens

WITH_TOKENS = [model_type for model_type, reference in VISION.items() if reference.tokens is not no_tokens]


def parts_of(model_type: str, part: str) -> list[dict[str, Any]]:
    """Return configs that say nothing but the `model_type`, in each way in which a file can say nothing of a tower."""
    whole: list[dict[str, Any]] = [{part: {}}, {part: None}] if model_type in VISION and model_type in TEXT else []
    return [{"model_type": model_type, **values} for values in ({}, *whole)]


def vision_of(model_type: str) -> VisionSpec:
    return FORMAT.vision({"model_type": model_type}, "name")


@pytest.mark.parametrize("model_type", VISION)
def test_every_spelling_of_nothing_gives_the_same_vision_tower(model_type: str) -> None:
    specs = [FORMAT.vision(config, "name") for config in parts_of(model_type, "vision_config")]
    assert len({(spec.image_size, spec.patch_size, spec.outputs, spec.prefix_tokens) for spec in specs}) == 1


@pytest.mark.parametrize("model_type", VISION)
def test_the_sizes_of_images_and_patches_are_transformers_defaults(model_type: str) -> None:
    config, spec = VISION[model_type].default().config, vision_of(model_type)
    config = getattr(config, "vision_config", config)
    assert spec.patch_size == getattr(config, "patch_size", 1)  # which convolutions have not
    if hasattr(config, "num_patches"):  # SigLIP 2 says how many there are, not how large an image is
        assert spec.patches(spec.image_size) == config.num_patches
    else:
        assert spec.image_size == (config.image_size, config.image_size)


@pytest.mark.parametrize("model_type", WITH_TOKENS)
def test_the_tokens_of_transformers_default_model_are_the_prefix_and_the_patches(model_type: str) -> None:
    spec, reference = vision_of(model_type), VISION[model_type]
    with torch.inference_mode():
        tokens = reference.tokens(reference.default().eval(), torch.zeros(1, 3, *spec.image_size))
    assert tokens.shape[1] == spec.prefix_tokens + spec.patches(spec.image_size)


@pytest.mark.parametrize("model_type", WITH_TOKENS)
def test_a_model_of_transformers_defaults_gives_its_tokens(model_type: str, tmp_path: Path) -> None:
    reference = VISION[model_type]
    model = reference.default()
    scramble(model)
    save_without_defaults(model, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    size = checkpoint.vision.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (1, *size, 3), dtype=np.uint8)
    backend = TorchBackend(checkpoint, pixel_format=replace(PIXEL_FORMAT, size=size), device="cpu")
    with torch.inference_mode():
        expected = reference.tokens(model, normalize(pixels)).numpy()
    np.testing.assert_allclose(backend(pixels, output="tokens", device="cpu"), expected, atol=2e-5)
    if model_type in TEXT:
        assert TorchTextBackend(checkpoint, device="cpu").dimension == backend.dimension


@pytest.mark.parametrize("model_type", VISION)
def test_a_head_is_there_unless_the_config_says_that_it_is_not(model_type: str) -> None:
    config = VISION[model_type].default().config
    config = getattr(config, "vision_config", config)
    # transformers 4 knows the key only where a file has it.
    assert ("pooled" in vision_of(model_type).outputs) is getattr(config, "vision_use_head", True)


@pytest.mark.parametrize("model_type", TEXT)
def test_the_length_of_texts_is_transformers_default(model_type: str) -> None:
    reference = TEXT[model_type]
    for config in parts_of(model_type, "text_config"):
        assert FORMAT.text(config, "name").max_length == reference.default().max_position_embeddings - reference.room


@pytest.mark.parametrize("kind", [CLIPConfig, ChineseCLIPConfig, AltCLIPConfig, CLIPSegConfig])
@pytest.mark.parametrize("part", ["vision", "text"])
def test_the_keys_of_clips_first_files_overrule_the_others_as_in_transformers(part: str, kind: Any) -> None:
    values = {"patch_size": 14, "hidden_act": "gelu", "max_position_embeddings": 20}
    model_type = kind.model_type
    given = {"model_type": model_type, f"{part}_config": {"hidden_size": 64}, f"{part}_config_dict": values}
    expected = getattr(kind.from_dict(deepcopy(given)), f"{part}_config")  # which changes what it is given
    if part == "vision":
        assert FORMAT.vision(given, "name").patch_size == expected.patch_size == 14
    else:
        assert FORMAT.text(given, "name").max_length + TEXT[model_type].room == expected.max_position_embeddings == 20


def test_an_activation_under_a_key_of_clips_first_files_decides_the_vectors_as_in_transformers(
    save_vision: Callable[..., SavedTower],
) -> None:
    saved = save_vision("clip")
    config = json.loads((saved.folder / "config.json").read_text())
    config["vision_config_dict"] = config["vision_config"] | {"hidden_act": "relu"}
    (saved.folder / "config.json").write_text(json.dumps(config))
    pixels = np.random.default_rng(0).integers(0, 256, (2, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    expected = saved.family.reference(CLIPModel.from_pretrained(saved.folder), normalize(pixels))
    np.testing.assert_allclose(saved.backend()(pixels, output="pooled", device="cpu"), expected, atol=1e-5)
