"""Configs with the values of public checkpoints; their depth is cut, which no other value depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clip_image_encoder.checkpoint.transformers import FORMAT

DINOV2_WITH_REGISTERS_SMALL = {
    "model_type": "dinov2_with_registers",
    "architectures": ["Dinov2WithRegistersModel"],
    "hidden_size": 384,
    "num_attention_heads": 6,
    "num_hidden_layers": 1,
    "mlp_ratio": 4,
    "image_size": 518,
    "patch_size": 14,
    "num_register_tokens": 4,
    "layer_norm_eps": 1e-06,
    "layerscale_value": 1.0,
    "out_features": ["stage1"],
    "out_indices": [1],
    "stage_names": ["stem", "stage1"],
    "interpolate_antialias": True,
    "interpolate_offset": 0.0,
    "torch_dtype": "float32",
    "use_swiglu_ffn": False,
}
DINOV3_SMALL = {
    "model_type": "dinov3_vit",
    "architectures": ["DINOv3ViTModel"],
    "hidden_size": 384,
    "num_attention_heads": 6,
    "num_hidden_layers": 1,
    "intermediate_size": 1536,
    "image_size": 224,
    "patch_size": 16,
    "num_register_tokens": 4,
    "hidden_act": "gelu",
    "key_bias": False,
    "layer_norm_eps": 1e-05,
    "pos_embed_jitter": None,
    "pos_embed_rescale": 2.0,
    "pos_embed_shift": None,
    "rope_theta": 100.0,
    "torch_dtype": "float32",
    "transformers_version": "4.56.0.dev0",
    "use_gated_mlp": False,
}
METACLIP_2_HUGE = {
    "model_type": "metaclip_2",
    "architectures": ["MetaClip2Model"],
    "projection_dim": 1024,
    "vision_config": {
        "model_type": "metaclip_2_vision_model",
        "hidden_size": 1280,
        "num_attention_heads": 16,
        "num_hidden_layers": 1,
        "intermediate_size": 5120,
        "hidden_act": "quick_gelu",
        "image_size": 224,
        "patch_size": 14,
    },
    "text_config": {
        "model_type": "metaclip_2_text_model",
        "vocab_size": 5000,  # instead of 901,629
        "hidden_size": 1024,
        "num_attention_heads": 16,
        "num_hidden_layers": 1,
        "intermediate_size": 4096,
        "hidden_act": "quick_gelu",
        "max_position_embeddings": 77,
        "eos_token_id": 2,
    },
}


class Zeros:
    """Weights of any shape that is asked for."""

    name = "name"

    def __contains__(self, name: str, /) -> bool:
        return True

    def read_all(self) -> dict[str, Tensor]:
        return {}

    @torch.no_grad()
    def fill(self, module: nn.Module, **names: object) -> None:
        module.to_empty(device="cpu")
        for tensor in (*module.parameters(), *module.buffers()):
            tensor.zero_()


@pytest.mark.parametrize(
    ("config", "side", "patches", "prefix_tokens", "dimension"),
    [
        (DINOV2_WITH_REGISTERS_SMALL, 518, 37 * 37, 1 + 4, 384),
        (DINOV3_SMALL, 224, 14 * 14, 1 + 4, 384),
        (METACLIP_2_HUGE, 224, 16 * 16, 1, 1024),
    ],
    ids=["dinov2-with-registers-small", "dinov3-vits16", "metaclip-2-worldwide-huge-quickgelu"],
)
def test_a_vision_tower_is_built_from_the_values_of_a_public_checkpoint(
    config: Mapping[str, Any], side: int, patches: int, prefix_tokens: int, dimension: int
) -> None:
    spec = FORMAT.vision(dict(config), "name")
    assert spec.image_size == (side, side)
    assert spec.prefix_tokens == prefix_tokens
    tower = spec.load(Zeros())
    assert tower.dimension == dimension
    with torch.inference_mode():
        tokens = tower(torch.zeros(1, side, side, 3), "tokens")
    assert tokens.shape == (1, prefix_tokens + patches, dimension)


def test_metaclip_2s_texts_are_read_to_the_length_of_its_public_checkpoint() -> None:
    spec = FORMAT.text(METACLIP_2_HUGE, "name")
    tower = spec.load(Zeros())
    assert (spec.max_length, tower.dimension) == (77, 1024)
    with torch.inference_mode():
        assert tower(torch.zeros(2, 77, dtype=torch.int64), None).shape == (2, 1024)
