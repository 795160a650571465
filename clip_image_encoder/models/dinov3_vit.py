"""DINOv3's vision transformers (Siméoni et al. 2025): the class token after the last layer norm; no text tower.

Positions are rotations that follow from the grid of patches, so that it takes any size. Register tokens lie between
the class token and the patches.
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
"""What files call the layers; transformers 5 puts them into a module of their own."""


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
    # No file stores the frequencies of the rotations; transformers computes them when it builds that part.
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
