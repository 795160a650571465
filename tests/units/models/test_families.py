"""Every file of the folder gives the numbers of transformers, for each `model_type` that it answers to."""

from __future__ import annotations

import importlib
import json
import pkgutil

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import clip_image_encoder.models
from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.backends.torch import TorchBackend, TorchTextBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.models import Family, available_families, find_family
from tests.units.backends.families import IMAGE_SIZE, PIXEL_FORMAT, normalize
from tests.units.text.conftest import LENGTH
from tests.units.text.conftest import Saved as SavedText

from .conftest import SavedVision
from .references import TEXT, VISION, no_tokens

NAMES = [
    module.name
    for module in pkgutil.iter_modules(clip_image_encoder.models.__path__)
    if not module.name.startswith("_")
]
TOWERS = {
    "both": {"vision", "text"},
    "vision": {"vision"},
    "text": {"text"},
}


def family_of(name: str) -> Family:
    family: Family = importlib.import_module(f"clip_image_encoder.models.{name}").FAMILY
    return family


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_each_model_type_of_a_file_has_its_reference_here(name: str) -> None:
    expected = {
        (tower, model_type) for model_type, towers in family_of(name).model_types.items() for tower in TOWERS[towers]
    }
    here = {("vision", model_type) for model_type in VISION} | {("text", model_type) for model_type in TEXT}
    missing = expected - here
    assert not missing, f"a new family? Add {missing} to tests/units/models/references.py, so that it is compared"


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_found_by_each_of_its_model_types(name: str) -> None:
    family = family_of(name)
    assert all(find_family(model_type) is family for model_type in family.model_types)
    assert family.name in available_families()


@pytest.mark.parametrize("name", NAMES)
def test_only_a_family_with_a_text_tower_has_model_types_with_one(name: str) -> None:
    family = family_of(name)
    assert (family.text is not None) == any(towers != "vision" for towers in family.model_types.values())


def test_no_two_files_answer_to_the_same_model_type() -> None:
    answers = [model_type for name in NAMES for model_type in family_of(name).model_types]
    assert len(answers) == len(set(answers))


def test_transformers_saves_a_vision_tower_under_the_model_type_of_its_reference(vision: SavedVision) -> None:
    assert json.loads((vision.folder / "config.json").read_text())["model_type"] == vision.model_type


def test_transformers_saves_a_text_tower_under_the_model_type_of_its_reference(text: tuple[str, SavedText]) -> None:
    model_type, saved = text
    assert json.loads((saved.folder / "config.json").read_text())["model_type"] == model_type


def test_pooled_features_are_those_of_transformers(vision: SavedVision, pixels: NDArray[np.uint8]) -> None:
    backend = TorchBackend(vision.checkpoint, pixel_format=PIXEL_FORMAT, device="cpu")
    expected = vision.tower.family.reference(vision.tower.model, normalize(pixels))
    np.testing.assert_allclose(backend(pixels, output="pooled", device="cpu"), expected, atol=1e-5)


def test_tokens_are_those_of_transformers_or_none(vision: SavedVision, pixels: NDArray[np.uint8]) -> None:
    backend = TorchBackend(vision.checkpoint, pixel_format=PIXEL_FORMAT, device="cpu")
    if vision.reference.tokens is no_tokens:
        assert backend.outputs == {"pooled"}
        return
    expected = vision.tokens(normalize(pixels)).numpy()
    np.testing.assert_allclose(backend(pixels, output="tokens", device="cpu"), expected, atol=1e-5)


def test_an_image_file_becomes_the_vector_of_transformers_model_and_processor(vision: SavedVision) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (56, 56, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    with torch.inference_mode():
        expected = vision.tower.family.reference(vision.tower.model, vision.processed(image))[0]
    vector = ImageEncoder(vision.folder, device="cpu").encode(image, normalize=False)
    np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_the_vectors_of_token_ids_are_those_of_transformers(text: tuple[str, SavedText]) -> None:
    saved = text[1]
    backend = TorchTextBackend(open_checkpoint(saved.folder), device="cpu")
    token_ids = np.random.default_rng(0).integers(0, 50, (5, LENGTH))
    if saved.model.config.get_text_config().eos_token_id is not None:
        token_ids[:, -1] = saved.model.config.get_text_config().eos_token_id
    expected = saved.vectors({"input_ids": torch.from_numpy(token_ids)})
    assert backend.max_length == LENGTH
    np.testing.assert_allclose(backend(token_ids, None, device="cpu"), expected.numpy(), atol=1e-5)


def test_a_text_becomes_the_unit_vector_of_transformers_model_and_tokenizer(text: tuple[str, SavedText]) -> None:
    saved, texts = text[1], ["a red circle", "the", "", "红 CIRCLE!", "a blue star on the red circle on a star"]
    encoder = TextEncoder(saved.folder, device="cpu")
    # One by one: beside a long text, the others would be as long as it is whatever the family says.
    vectors = [encoder.encode(text) for text in texts]
    np.testing.assert_allclose(vectors, saved.reference(texts), atol=1e-5)
