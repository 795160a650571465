"""Training: a folder that loads, and the same one again."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

from clip_image_encoder.tiny_shapes.draw import draw, random_scenes
from tests.programs.training.captions import all_captions
from tests.programs.training.evaluate import accuracy, named
from tests.programs.training.pictures import pixels, pool
from tests.programs.training.train import train


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two steps of training leave behind."""
    folder = tmp_path_factory.mktemp("trained") / "new"
    train(folder, steps=2, seed=5, judged=8)
    return folder


def test_a_trained_folder_loads(folder: Path) -> None:
    """Model, tokenizer and processor, in plain transformers."""
    model = CLIPModel.from_pretrained(folder)
    assert model.config.projection_dim == model.visual_projection.out_features
    config: Any = model.config.text_config
    assert len(CLIPTokenizer.from_pretrained(folder)) == config.vocab_size
    assert CLIPImageProcessor.from_pretrained(folder).crop_size["height"] == 64


def test_the_same_seed_gives_the_same_weights(folder: Path, tmp_path: Path) -> None:
    """Byte for byte, on the same machine."""
    train(tmp_path, steps=2, seed=5, judged=8)
    assert (tmp_path / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_a_model_that_has_learnt_next_to_nothing_is_found_out(folder: Path) -> None:
    """The measure of accuracy can fail."""
    assert accuracy(folder, count=60) < 0.5


def test_every_image_gets_one_of_the_88_names(folder: Path) -> None:
    """Whatever the model has learnt."""
    images = [draw(scene) for scene in random_scenes(3, seed=0)]
    found = named(folder, images)
    assert len(found) == 3
    assert set(found) <= set(all_captions())


def test_training_sees_images_as_the_processor_does(folder: Path) -> None:
    """The same resizing and cropping, to a level or two of 255."""
    processor = CLIPImageProcessor.from_pretrained(folder)
    for scene in random_scenes(8, seed=0):
        image = draw(scene)
        theirs = processor(image, do_normalize=False, return_tensors="np").pixel_values[0].transpose(1, 2, 0) * 255
        assert np.abs(theirs - pixels(image)).max() <= 2


def test_a_pool_is_the_same_again() -> None:
    """On however many processes it is drawn."""
    scenes, pictures = pool(500, seed=3)
    again, same = pool(1000, seed=3)
    assert scenes == again[:500]
    assert np.array_equal(pictures, same[:500])
