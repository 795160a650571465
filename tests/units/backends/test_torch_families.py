"""Every architecture gives the numbers that transformers' own model gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import SiglipVisionConfig, SiglipVisionModel

from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.testing import check_backend

from .conftest import Saved
from .families import FAMILIES, PATCH_SIZE, PIXEL_FORMAT, normalize, patches_of, scramble

CONFIGS_WITHOUT_DIMENSION = {
    "align_vision",
    "altclip_vision",
    "chinese_clip_vision",
    "clip_vision",
    "clipseg_vision",
    "metaclip2_vision",
}


def test_pooled_features_are_those_of_transformers(each: Saved, pixels: NDArray[np.uint8]) -> None:
    vectors = each.backend()(pixels, output="pooled", device="cpu")
    np.testing.assert_allclose(vectors, each.family.reference(each.model, normalize(pixels)), atol=1e-5)


def test_tokens_are_the_class_token_and_the_patches(each: Saved, pixels: NDArray[np.uint8]) -> None:
    tokens = each.backend()(pixels, output="tokens", device="cpu")
    assert tokens.shape == (5, each.family.tokens, each.family.dimension)


@pytest.mark.parametrize("name", ["clip", "clip_vision", "dinov2", "dinov2_registers", "dinov3", "vit"])
def test_the_first_token_is_the_class_token_that_is_pooled(
    save: Callable[..., Saved], name: str, pixels: NDArray[np.uint8]
) -> None:
    backend = save(name).backend()
    tokens = backend(pixels, output="tokens", device="cpu")
    np.testing.assert_allclose(tokens[:, 0], backend(pixels, output="pooled", device="cpu"), atol=1e-5)


def test_the_contract_of_backends_is_kept(each: Saved) -> None:
    check_backend(each.backend())


def test_the_dimension_is_known_before_the_first_image(each: Saved) -> None:
    assert each.backend().dimension == each.family.dimension


@pytest.mark.parametrize("name", [family.name for family in FAMILIES])
def test_the_dimension_is_read_off_the_config_where_it_says_it(name: str, save: Callable[..., Saved]) -> None:
    saved = save(name)
    dimension = open_checkpoint(saved.folder).vision.dimension
    # CLIP's tower has a projection if its file has one, and ALIGN's is as wide as its last block.
    is_said = name not in CONFIGS_WITHOUT_DIMENSION
    assert dimension == (saved.family.dimension if is_said else None)


def test_the_size_is_the_one_that_the_config_names(each: Saved) -> None:
    assert each.backend().image_size == (32, 32)


def test_a_width_of_the_joint_space_at_the_top_of_the_config_only_is_found(
    save: Callable[..., Saved], pixels: NDArray[np.uint8]
) -> None:
    saved = save("clip")
    config = json.loads((saved.folder / "config.json").read_text())
    del config["vision_config"]["projection_dim"]
    (saved.folder / "config.json").write_text(json.dumps(config))
    backend = saved.backend()
    assert backend.dimension == 16
    expected = saved.family.reference(saved.model, normalize(pixels))
    np.testing.assert_allclose(backend(pixels, output="pooled", device="cpu"), expected, atol=1e-5)


def test_a_siglip_without_its_head_gives_tokens_only(
    tmp_path_factory: pytest.TempPathFactory, pixels: NDArray[np.uint8]
) -> None:
    folder = tmp_path_factory.mktemp("headless")
    config = SiglipVisionConfig(
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=40,
        image_size=32,
        patch_size=8,
        vision_use_head=False,
    )
    model = SiglipVisionModel(config)
    scramble(model)
    model.save_pretrained(folder)
    backend = TorchBackend(open_checkpoint(folder), pixel_format=PIXEL_FORMAT)
    assert backend.outputs == {"tokens"}
    with torch.inference_mode():
        expected = model(pixel_values=normalize(pixels)).last_hidden_state.numpy()
    np.testing.assert_allclose(backend(pixels, output="tokens", device="cpu"), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["dinov2", "dinov2_registers", "dinov3"])
@pytest.mark.parametrize("size", [(48, 32), (16, 64), (56, 56)])
def test_dino_takes_other_sizes_than_its_configs(save: Callable[..., Saved], name: str, size: tuple[int, int]) -> None:
    saved = save(name)
    pixels = np.random.default_rng(1).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    backend = saved.backend(pixel_format=replace(PIXEL_FORMAT, size=size))
    assert backend.image_size == size
    expected = saved.family.reference(saved.model, normalize(pixels))
    np.testing.assert_allclose(backend(pixels, output="pooled", device="cpu"), expected, atol=1e-5)
    tokens = backend(pixels, output="tokens", device="cpu")
    assert tokens.shape == (2, backend.prefix_tokens + size[0] * size[1] // PATCH_SIZE**2, 24)


@pytest.mark.parametrize("name", ["clipseg", "clipseg_clip", "clipseg_vision"])
def test_clipseg_takes_other_sizes_than_its_configs(save: Callable[..., Saved], name: str) -> None:
    saved = save(name)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 48, 40, 3), dtype=np.uint8)
    expected = saved.family.reference(saved.model, normalize(pixels))
    backend = saved.backend(pixel_format=replace(PIXEL_FORMAT, size=(48, 40)))
    np.testing.assert_allclose(backend(pixels, output="pooled", device="cpu"), expected, atol=1e-5)


def test_siglip2_takes_other_sizes_than_its_configs(save: Callable[..., Saved]) -> None:
    saved = save("siglip2_vision")
    pixels = np.random.default_rng(1).integers(0, 256, (2, 16, 48, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = saved.model(**patches_of(normalize(pixels))).pooler_output.numpy()
    vectors = saved.backend(pixel_format=replace(PIXEL_FORMAT, size=(16, 48)))(pixels, output="pooled", device="cpu")
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["clip", "siglip", "vit"])
def test_towers_of_one_size_refuse_another(save: Callable[..., Saved], name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\(32, 32\).*\(48, 48\)"):
        save(name).backend(pixel_format=replace(PIXEL_FORMAT, size=(48, 48)))


def test_a_size_that_patches_do_not_fill_is_refused(save: Callable[..., Saved]) -> None:
    with pytest.raises(ConfigurationError, match="multiples of 8"):
        save("dinov2").backend(pixel_format=replace(PIXEL_FORMAT, size=(36, 32)))


def test_pixels_beyond_the_last_whole_patch_are_left_out_as_transformers_does(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # As in google/siglip-so400m-patch14-384: 384 is 27 times 14, and 6.
    folder = tmp_path_factory.mktemp("remainder")
    config = SiglipVisionConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=3, intermediate_size=40, image_size=35, patch_size=8
    )
    model = SiglipVisionModel(config)
    scramble(model)
    model.save_pretrained(folder)
    pixels = np.random.default_rng(1).integers(0, 256, (2, 35, 35, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = model(pixel_values=normalize(pixels)).pooler_output.numpy()
    backend = TorchBackend(open_checkpoint(folder), pixel_format=replace(PIXEL_FORMAT, size=(35, 35)))
    np.testing.assert_allclose(backend(pixels, output="pooled", device="cpu"), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["dinov2", "dinov2_swiglu", "dinov2_registers_swiglu", "dinov3"])
def test_weights_under_the_names_of_the_running_transformers_are_read(
    save: Callable[..., Saved], name: str, pixels: NDArray[np.uint8]
) -> None:
    """transformers 5 saves them under the names of older files, and also reads its own."""
    saved = save(name)
    save_file(saved.model.state_dict(), saved.folder / "model.safetensors")
    expected = saved.family.reference(saved.model, normalize(pixels))
    np.testing.assert_allclose(saved.backend()(pixels, output="pooled", device="cpu"), expected, atol=1e-5)
