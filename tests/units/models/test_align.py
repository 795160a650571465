"""ALIGN: convolutions in the place of patches, so that pixels are normalized before the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from clip_image_encoder import ConfigurationError, ImageEncoder, MeanPatchesPooling
from clip_image_encoder.backends.torch import TorchBackend, TorchTextBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.checkpoint.transformers import FORMAT
from clip_image_encoder.preprocess import ClipPreprocess
from clip_image_encoder.testing import check_backend
from tests.units.backends.conftest import Saved
from tests.units.backends.families import IMAGE_SIZE, PIXEL_FORMAT, normalize, scramble

from .conftest import save_without_defaults
from .references import VISION

SIZES = [(IMAGE_SIZE, IMAGE_SIZE), (35, 41)]


@pytest.fixture
def align(save_vision: Callable[..., Saved]) -> Saved:
    return save_vision("align")


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["align", "align_vision"])
def test_images_of_any_size_have_the_features_of_transformers(
    save_vision: Callable[..., Saved], name: str, size: tuple[int, int]
) -> None:
    saved, pixels = save_vision(name), noise(*size)
    backend = saved.backend(pixel_format=replace(PIXEL_FORMAT, size=size))
    expected = saved.family.reference(saved.model, normalize(pixels))
    for given in (pixels, normalize(pixels).numpy()):
        np.testing.assert_allclose(backend(given, output="pooled", device="cpu"), expected, atol=1e-5)


def test_the_contract_of_backends_is_kept_without_a_word(align: Saved, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    check_backend(align.backend())
    assert capfd.readouterr() == ("", "")


def test_features_point_the_same_way_in_bfloat16(align: Saved) -> None:
    exact, half = (
        torch.from_numpy(align.backend(dtype=dtype)(noise(32, 32), output="pooled", device="cpu"))
        for dtype in ("float32", "bfloat16")
    )
    assert nn.functional.cosine_similarity(exact, half, dim=-1).min() > 0.995


@pytest.mark.parametrize("default", [{"device": "meta"}, {"dtype": torch.float64}], ids=["device", "dtype"])
def test_what_an_application_sets_in_torch_changes_no_feature(align: Saved, default: dict[str, Any]) -> None:
    expected = align.backend()(noise(32, 32), output="pooled", device="cpu")
    torch.set_default_device(default.get("device"))
    torch.set_default_dtype(default.get("dtype", torch.float32))
    try:
        features = align.backend()(noise(32, 32), output="pooled", device="cpu")
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(features, expected)


def test_a_pooling_of_patches_is_refused(align: Saved) -> None:
    preprocess = ClipPreprocess(resize=(IMAGE_SIZE, IMAGE_SIZE), crop=None)
    with pytest.raises(ConfigurationError, match="MeanPatchesPooling reads"):
        ImageEncoder(align.folder, preprocess=preprocess, pooling=MeanPatchesPooling())


def test_a_model_of_transformers_defaults_gives_its_features(tmp_path: Path) -> None:
    model = VISION["align"].default()
    scramble(model)
    save_without_defaults(model, tmp_path)
    checkpoint, size = open_checkpoint(tmp_path), (67, 67)
    backend = TorchBackend(checkpoint, pixel_format=replace(PIXEL_FORMAT, size=size))
    with torch.inference_mode():
        expected = model.vision_model(pixel_values=normalize(noise(*size))).pooler_output
    np.testing.assert_allclose(backend(noise(*size), output="pooled", device="cpu"), expected, rtol=1e-4, atol=1e-5)
    assert TorchTextBackend(checkpoint).dimension == model.config.projection_dim == 640


@pytest.mark.parametrize(("positions", "length"), [(512, 64), (40, 40)])
def test_texts_are_cut_at_the_length_of_the_training(positions: int, length: int) -> None:
    config = {"model_type": "align", "text_config": {"max_position_embeddings": positions}}
    assert FORMAT.text(config, "name").max_length == length
