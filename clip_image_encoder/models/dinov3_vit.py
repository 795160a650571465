"""DINOv3's vision transformers (Siméoni et al. 2025, "DINOv3"); there is no text tower.

The vector is the class token after the last layer norm; register tokens are between it and the patch tokens. Positions
are rotations (RoPE) that are computed from the grid of patches, so that images may have any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import Family, VisionSpec, Weights
from clip_image_encoder.models._transformers import build_model, class_token_or_all, side_lengths

if TYPE_CHECKING:
    from clip_image_encoder.models._towers import VisionTower

__all__ = ["FAMILY"]

_OLD_NAMES = ((r"^model\.layer\.", "layer."),)
"""Names of the layers in files; transformers 5 puts the layers into a module of their own."""


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    return VisionSpec(
        image_size=side_lengths(config.get("image_size", 224)),
        patch_size=int(config.get("patch_size", 16)),
        any_size=True,
        prefix_tokens=1 + int(config.get("num_register_tokens", 0)),
        dimension=int(config.get("hidden_size", 384)),
        load=partial(_load, config),
    )


def _load(config: Mapping[str, Any], weights: Weights) -> VisionTower:
    import torch

    from clip_image_encoder.models._towers import VisionTower

    model = build_model("DINOv3ViTModel", config, None, name=weights.name)
    weights.fill(model, old_names=_OLD_NAMES)
    # Files don't store the frequencies of the rotations. transformers computes them when it builds this module, which
    # `build_model` did on the meta device, without values.
    rotations = model.rope_embeddings
    with torch.device("cpu"):
        rotations.inv_freq = type(rotations)(model.config).inv_freq
    return VisionTower(model, class_token_or_all, dimension=model.config.hidden_size)


FAMILY = Family(
    name="DINOv3 ViT",
    model_types={"dinov3_vit": "vision"},
    vision=_vision,
    image_processor="DINOv3ViTImageProcessor",
)
