"""An exported folder in an environment without torch: nox -s slim, which sets EXPORTED to the folder."""

from __future__ import annotations

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clip_image_encoder.models
from clip_image_encoder import ImageEncoder, MissingExtraError, TextEncoder

ABSENT = ("torch", "transformers", "safetensors", "scipy", "sklearn", "nncf", "onnx", "onnxscript", "ftfy")
MODULES = (
    "cache",
    "compact",
    "export",
    "folder",
    "images",
    "measure",
    "models",
    "pooling",
    "preprocess",
    "serving",
    "testing",
)
TOWERS = ("TextTower", "VisionTower", "build")
FOLDER = Path(os.environ["EXPORTED"])


def test_what_it_does_without_can_not_be_imported() -> None:
    assert [name for name in ABSENT if find_spec(name)] == []


def test_images_are_found_by_words() -> None:
    images, texts = ImageEncoder(FOLDER), TextEncoder(FOLDER)
    colors = ["red", "blue", "green", "yellow"]
    vectors = images.encode([Image.new("RGB", (90, 70), color) for color in colors])
    likely = texts.probabilities(vectors, texts.encode([f"something {color}" for color in colors]))
    assert likely.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert not set(ABSENT) & sys.modules.keys()


def test_bad_images_have_names_and_streams_come_in_batches() -> None:
    batches = list(
        ImageEncoder(FOLDER).stream([np.zeros((9, 9, 3), np.uint8), b"no image", "nowhere.jpg"], batch_size=2)
    )
    assert [len(batch.embeddings) for batch in batches] == [2, 1]
    assert [failure.index for batch in batches for failure in batch.failures] == [1, 2]


@pytest.mark.parametrize("name", clip_image_encoder.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(clip_image_encoder, name) is not None


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_of_a_module_is_there_or_says_what_it_needs(module: str) -> None:
    try:
        face = importlib.import_module(f"clip_image_encoder.{module}")
        names = [getattr(face, name) for name in face.__all__ if name not in TOWERS]
    except MissingExtraError as error:
        assert "python -m pip install" in str(error)
    else:
        assert names


@pytest.mark.parametrize("name", TOWERS)
def test_what_builds_towers_says_that_it_needs_torch(name: str) -> None:
    with pytest.raises(MissingExtraError, match="needs torch: python -m pip install torch"):
        getattr(clip_image_encoder.models, name)


@pytest.mark.parametrize("kind", [ImageEncoder, TextEncoder])
def test_a_checkpoint_of_weights_says_what_it_needs(kind: type) -> None:
    with pytest.raises(MissingExtraError, match="needs torch: python -m pip install torch transformers safetensors"):
        kind("tiny-shapes")
