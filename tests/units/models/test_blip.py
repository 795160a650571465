"""BLIP's vectors are those that its retrieval model compares; a BLIP of another purpose has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BlipConfig, BlipForConditionalGeneration, BlipModel

from clip_image_encoder import CheckpointError
from clip_image_encoder.backends.torch import TorchBackend, TorchTextBackend
from clip_image_encoder.checkpoint import open_checkpoint
from tests.units.backends.conftest import Saved
from tests.units.backends.families import IMAGE_SIZE, PIXEL_FORMAT, normalize

TINY = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 40}
VISION = TINY | {"image_size": IMAGE_SIZE, "patch_size": 8}


@pytest.fixture
def blip(save_vision: Callable[..., Saved]) -> Saved:
    return save_vision("blip")


def test_the_products_of_vectors_are_the_scores_of_its_retrieval_model(blip: Saved) -> None:
    checkpoint = open_checkpoint(blip.folder)
    pixels = np.random.default_rng(0).integers(0, 256, (3, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    token_ids = np.random.default_rng(0).integers(1, 60, (4, 8))
    mask = np.ones_like(token_ids)
    mask[1, 5:] = 0
    images = TorchBackend(checkpoint, pixel_format=PIXEL_FORMAT)(pixels, output="pooled", device="cpu")
    texts = TorchTextBackend(checkpoint)(token_ids, mask, device="cpu")
    given = {"input_ids": torch.from_numpy(token_ids), "attention_mask": torch.from_numpy(mask)}
    with torch.inference_mode():
        scores = blip.model(**given, pixel_values=normalize(pixels), use_itm_head=False).itm_score.numpy()
    units = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (images, texts)]
    np.testing.assert_allclose(units[0] @ units[1].T, scores, atol=1e-5)


def test_nothing_of_the_layers_that_look_at_an_image_is_read_for_texts(blip: Saved) -> None:
    checkpoint = open_checkpoint(blip.folder)
    tower = checkpoint.text.load(checkpoint.weights(torch.float32))
    assert not [name for name, _ in tower.named_parameters() if "crossattention" in name]


@pytest.mark.parametrize("kind", [BlipForConditionalGeneration, BlipModel])
def test_a_blip_without_projections_that_were_trained_is_refused(kind: type, tmp_path: Path) -> None:
    kind(BlipConfig(text_config=TINY | {"vocab_size": 60}, vision_config=VISION)).save_pretrained(tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    for spec in (checkpoint.vision, checkpoint.text):
        with pytest.raises(
            CheckpointError, match=rf": {kind.__name__} has no space .* take .* BlipForImageTextRetrieval"
        ):
            spec.load(checkpoint.weights(torch.float32))


def test_a_config_that_does_not_say_which_model_it_is_of_is_judged_by_the_weights(tmp_path: Path) -> None:
    BlipModel(BlipConfig(text_config=TINY | {"vocab_size": 60}, vision_config=VISION)).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["architectures"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    checkpoint = open_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="a BLIP of another purpose has no space"):
        checkpoint.vision.load(checkpoint.weights(torch.float32))
