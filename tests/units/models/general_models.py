"""Tiny models of the types that run through their own class of transformers, with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import CONFIG_MAPPING

SIDE = 32
VOCABULARY = 60

_WIDTH: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
_VISION = _WIDTH | {"image_size": SIDE, "patch_size": 8}
_TEXT = _WIDTH | {"vocab_size": VOCABULARY, "max_position_embeddings": 12, "eos_token_id": VOCABULARY - 1}
_BERT = _WIDTH | {"vocab_size": VOCABULARY, "max_position_embeddings": 12, "model_type": "bert"}
_WINDOWS = {"image_size": SIDE, "embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4}
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_BLOCKS = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 2]}
_GROUPS = {"depths": [1, 1, 1], "num_hidden_layers": 3, "num_group_tokens": [8, 4, 0], "num_output_groups": [8, 4, 4]}

TINY: dict[str, dict[str, Any]] = {
    "aimv2": {"text_config": _TEXT, "vision_config": _VISION, "projection_dim": 16},
    "aimv2_vision_model": _VISION,
    "beit": _VISION,
    "bit": _BLOCKS | {"num_groups": 4},
    "convnext": _STAGES,
    "convnextv2": _STAGES,
    "deit": _VISION,
    "dinov3_convnext": _STAGES,
    "donut-swin": _WINDOWS,
    "dpt": _VISION
    | {
        "num_hidden_layers": 4,
        "backbone_out_indices": [0, 1, 2, 3],
        "neck_hidden_sizes": [8, 8, 8, 8],
        "fusion_hidden_size": 8,
    },
    "efficientnet": {
        "image_size": SIDE,
        "kernel_sizes": [3, 5],
        "in_channels": [32, 8],
        "out_channels": [8, 16],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 2],
        "depthwise_padding": [],
        "hidden_dim": 1280,
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
    },
    "focalnet": {"image_size": SIDE, "embed_dim": 8, "depths": [1, 1], "focal_levels": [1, 1], "focal_windows": [3, 3]},
    "groupvit": {"text_config": _TEXT, "vision_config": _VISION | _GROUPS, "projection_dim": 16},
    "hiera": {
        "image_size": [SIDE, SIDE],
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [1, 2],
        "masked_unit_size": [4, 4],
        "num_query_pool": 1,
    },
    "levit": {
        "image_size": 64,
        "hidden_sizes": [16, 24, 32],
        "num_attention_heads": [2, 3, 4],
        "depths": [1, 1, 1],
        "key_dim": [8, 8, 8],
    },
    "maskformer-swin": _WINDOWS,
    "mlcd": _VISION,
    "mlcd_vision_model": _VISION,
    "mobilenet_v1": {"image_size": 64, "depth_multiplier": 0.25},
    "mobilenet_v2": {"image_size": 64, "depth_multiplier": 0.25},
    "mobilevit": {
        "image_size": 64,
        "hidden_sizes": [16, 16, 16],
        "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 24],
        "num_attention_heads": 2,
    },
    "mobilevitv2": {"image_size": 64, "width_multiplier": 0.25, "n_attn_blocks": [1, 1, 1]},
    "owlv2": {"text_config": _TEXT, "vision_config": _VISION, "projection_dim": 16},
    "owlvit": {"text_config": _TEXT, "vision_config": _VISION, "projection_dim": 16},
    "pixio": _VISION,
    "regnet": _BLOCKS | {"groups_width": 8},
    "resnet": _BLOCKS,
    "sapiens2": _VISION,
    "swin": _WINDOWS,
    "swinv2": _WINDOWS,
    "tipsv2": {"text_config": _TEXT, "vision_config": _VISION},
    "tipsv2_vision_model": _VISION,
    "vision-text-dual-encoder": {
        "text_config": _BERT,
        "vision_config": _VISION | {"model_type": "vit"},
        "projection_dim": 16,
    },
    "yolos": _VISION | {"image_size": [SIDE, SIDE]},
}
"""What the config of each such `model_type` says beside its defaults."""

HERE = sorted(model_type for model_type in TINY if model_type in CONFIG_MAPPING)
"""Those that the installed transformers has."""

DUAL = [model_type for model_type in HERE if "text_config" in TINY[model_type]]


def make(model_type: str, kind: str | None = None, **changes: Any) -> Any:
    """Return a tiny model with random weights, of a class, or of the one that `AutoModel` takes."""
    # Of a copy: transformers 4 takes things out of the parts.
    values = deepcopy({"model_type": model_type, **TINY[model_type], **changes})
    config = CONFIG_MAPPING[model_type].from_dict(values)
    model: Any = getattr(transformers, kind)(config) if kind else transformers.AutoModel.from_config(config)
    _randomize(model.eval())
    return model


@torch.no_grad()
def _randomize(model: Any) -> None:
    """Give every weight a number of its own, of a size that keeps deep networks from giving all images one vector."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.copy_(noise * (2 / parameter[0].numel()) ** 0.5)
        else:
            parameter.copy_(noise * 0.2 + (1 if name.endswith("weight") else 0))
    for name, buffer in model.named_buffers():
        noise = torch.rand(buffer.shape, generator=generator)
        if name.endswith("running_mean"):
            buffer.copy_(noise * 0.2)
        if name.endswith("running_var"):
            buffer.copy_(noise + 0.5)


def vectors_of_images(model: Any, pixels: Tensor) -> Tensor:
    """Return what a model of transformers makes of normalized pixels, `(n, d)`."""
    with torch.inference_mode():
        if hasattr(model, "get_image_features"):
            features = model.get_image_features(pixel_values=pixels)
        else:
            features = model(pixel_values=pixels)
    return _pooled(features).flatten(1)


def vectors_of_texts(model: Any, tokens: Mapping[str, Tensor]) -> Tensor:
    """Return what a model of transformers makes of tokens, `(n, d)`."""
    with torch.inference_mode():
        return _pooled(model.get_text_features(**tokens))


def _pooled(features: Any) -> Tensor:
    """Return the pooled part of an output of several, which transformers 4 has without the others."""
    pooled: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return pooled
