"""Class and register tokens are said by the model, and never guessed from how many tokens there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import Dinov2Config, Dinov2Model, SiglipVisionConfig, SiglipVisionModel

from clip_image_encoder import ClassTokenPooling, ClipPreprocess, ConfigurationError, ImageEncoder, MeanPatchesPooling

SHAPE: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "image_size": 32,
    "patch_size": 8,
}


@pytest.fixture(scope="module")
def dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    Dinov2Model(Dinov2Config(**SHAPE, mlp_ratio=2)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("siglip")
    SiglipVisionModel(SiglipVisionConfig(**SHAPE, intermediate_size=40)).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 32, "width": 32}, "do_center_crop": false}')
    return folder


# 15 times 17 patches are 255, and with the class token 256, a square number; 30 and 1 are none.
@pytest.mark.parametrize("size", [(120, 136), (40, 48), (32, 32)], ids=str)
def test_the_class_token_is_never_averaged_in(dinov2: Path, size: tuple[int, int], noise: Image.Image) -> None:
    preprocess = ClipPreprocess(resize=size, crop=None)
    encoder = ImageEncoder(dinov2, preprocess=preprocess, pooling=MeanPatchesPooling(), device="cpu")
    tokens = encoder.backend(preprocess(noise)[None], output="tokens", device="cpu")[0]
    assert len(tokens) == 1 + size[0] // 8 * (size[1] // 8)
    expected = tokens[1:].mean(axis=0)
    np.testing.assert_allclose(encoder.encode(noise, normalize=False), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(120, 136), (40, 48)], ids=str)
def test_the_class_token_is_found_at_any_size(dinov2: Path, size: tuple[int, int], noise: Image.Image) -> None:
    preprocess = ClipPreprocess(resize=size, crop=None)
    pooled = ImageEncoder(dinov2, preprocess=preprocess, device="cpu")
    taken = ImageEncoder(dinov2, preprocess=preprocess, pooling=ClassTokenPooling(), device="cpu")
    np.testing.assert_allclose(taken.encode(noise), pooled.encode(noise), atol=1e-6)


def test_a_class_token_that_a_model_lacks_is_missed_when_the_encoder_is_made(siglip: Path) -> None:
    with pytest.raises(ConfigurationError, match="ClassTokenPooling needs a class token, and this model has none"):
        ImageEncoder(siglip, pooling=ClassTokenPooling())
