"""The space of vectors that can be compared: one for the images and the texts of a checkpoint, however they are run."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest

from clip_image_encoder import ClassTokenPooling, ImageEncoder, TextEncoder
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.testing import ToyBackend

BUNDLED = Path(open_checkpoint("tiny-shapes").name)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of the same shape with another temperature."""
    folder = tmp_path_factory.mktemp("models") / "other-shapes"
    shutil.copytree(BUNDLED, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "logit_scale_init_value": 1.0}), "utf-8")
    return folder


def test_images_and_texts_of_one_checkpoint_have_one_space(other: Path) -> None:
    space = ImageEncoder("tiny-shapes").space
    assert space is not None
    assert TextEncoder("tiny-shapes").space == space
    assert TextEncoder(other).space != space


def test_the_space_is_the_same_in_every_dtype_and_place(tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "copy")
    encoder, copied = ImageEncoder("tiny-shapes"), ImageEncoder(tmp_path / "copy", dtype="bfloat16")
    assert copied.space == encoder.space
    assert copied.fingerprint != encoder.fingerprint


def test_an_encoder_says_its_model_without_the_path_of_a_folder(other: Path) -> None:
    assert ImageEncoder("tiny-shapes").model == "tiny-shapes"
    assert ImageEncoder(other).model == "other-shapes"


def test_an_encoder_keeps_model_and_space_when_it_is_pickled() -> None:
    encoder = ImageEncoder("tiny-shapes")
    restored = pickle.loads(pickle.dumps(encoder))
    assert (restored.model, restored.space) == (encoder.model, encoder.space)


def test_no_space_is_claimed_where_no_text_can_be_compared() -> None:
    assert ImageEncoder("tiny-shapes", pooling=ClassTokenPooling()).space is None
    toy = ImageEncoder(backend=ToyBackend())
    assert (toy.model, toy.space) == (None, None)
