"""Vision towers of SigLIP at fixed sizes, which open_clip takes from timm: transformers' SigLIP under other names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.models._family import VisionSpec, Weights
from clip_image_encoder.models._open_clip.names import one_of_three
from clip_image_encoder.models._siglip import pooled_or_patches
from clip_image_encoder.models._transformers import build_model
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import VisionTower

__all__ = ["knows", "vision_spec"]

_NAME = re.compile(r"vit_(base|large|so400m|giantopt)_patch(\d+)_siglip_(\d+)")
# Width, number of layers, number of heads, and the MLPs' width as a multiple, from timm's vision_transformer.py.
_SHAPES = {
    "base": (768, 12, 12, 4.0),
    "large": (1024, 24, 16, 4.0),
    "so400m": (1152, 27, 16, 3.7362),
    "giantopt": (1536, 40, 16, 4.0),
}
_NAMES = (
    (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
    (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
    (r"^encoder\.layers\.", "blocks."),
    (r"\.self_attn\.[qkv]_proj\.", ".attn.qkv."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"^post_layernorm\.", "norm."),
    (r"^head\.probe$", "attn_pool.latent"),
    (r"^head\.attention\.out_proj\.", "attn_pool.proj."),
    (r"^head\.layernorm\.", "attn_pool.norm."),
    (r"^head\.mlp\.", "attn_pool.mlp."),
)


def knows(vision: Mapping[str, Any]) -> bool:
    """Tell whether a `vision_cfg` describes a vision tower of SigLIP at a fixed size."""
    return (
        _NAME.fullmatch(vision.get("timm_model_name") or "") is not None
        and vision.get("timm_pool") == "map"
        and vision.get("timm_proj") == "none"
        and isinstance(vision.get("image_size", 224), int)
    )


def vision_spec(model: Mapping[str, Any]) -> VisionSpec:
    """Return the vision tower of a `model_cfg`."""
    values = _values(model["vision_cfg"])
    return VisionSpec(
        image_size=(values["image_size"], values["image_size"]),
        patch_size=values["patch_size"],
        prefix_tokens=0,
        dimension=values["hidden_size"],
        load=partial(load, values),
    )


def _values(vision: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tower's config with transformers' names of the fields."""
    found = _NAME.fullmatch(vision["timm_model_name"])
    assert found, "`knows` has seen to it"
    size, patch, pixels = found[1], int(found[2]), int(found[3])
    width, layers, heads, ratio = _SHAPES[size]
    # In timm, the sizes published with SigLIP have the exact GELU, those with SigLIP 2 its tanh approximation.
    is_first = (size, patch) in {("base", 16), ("so400m", 14)} or (size == "large" and pixels < 512)
    return {
        "hidden_size": width,
        "intermediate_size": int(width * ratio),
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "image_size": vision.get("image_size", 224),
        "patch_size": patch,
        "hidden_act": "gelu" if is_first else "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
    }


def load(values: Mapping[str, Any], weights: Weights) -> VisionTower:
    """Return the tower of a config with transformers' names of the fields, filled from tensors with timm's names."""
    import torch
    from torch import nn

    from clip_image_encoder.models._towers import VisionTower, bare, build

    model = build_model("SiglipVisionModel", values, None, name=weights.name)
    tower, prefixes = bare(model, "vision_model"), ("visual.trunk.",)
    # The pooling head's attention has one tensor for queries, keys and values in transformers. timm has one for queries
    # and one for keys and values, so they are loaded apart and joined.
    attention = tower.head.attention
    attention.in_proj_weight = attention.in_proj_bias = None
    weights.fill(tower, prefixes=prefixes, old_names=_NAMES, part=_part)
    width = model.config.hidden_size
    parts = build(lambda: nn.ModuleDict({"q": nn.Linear(width, width), "kv": nn.Linear(width, 2 * width)}))
    weights.fill(parts, prefixes=("visual.trunk.attn_pool.",))
    for kind in ("weight", "bias"):
        joined = torch.cat([getattr(parts[name], kind) for name in ("q", "kv")])
        setattr(attention, f"in_proj_{kind}", nn.Parameter(joined, requires_grad=False))
    return VisionTower(model, _features, dimension=width)


def _part(name: str, source: str, tensor: Tensor) -> Tensor:
    return tensor.squeeze(0) if source.endswith("pos_embed") else one_of_three(name, source, tensor)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    return pooled_or_patches(model(pixel_values=cut_to_image(pixels, model.config.patch_size)), output)
