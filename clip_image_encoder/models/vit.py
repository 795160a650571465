"""ViT (Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words"); there is no text tower.

The vector is the class token after the last layer norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import Family, VisionSpec, Weights
from clip_image_encoder.models._transformers import OLD_ATTENTION, build_model, class_token_or_all, side_lengths

if TYPE_CHECKING:
    from clip_image_encoder.models._towers import VisionTower

__all__ = ["FAMILY"]

_OLD_NAMES = (
    *OLD_ATTENTION,
    (r"\bmlp\.fc1\b", "intermediate.dense"),
    (r"\bmlp\.fc2\b", "output.dense"),
)


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    return VisionSpec(
        image_size=side_lengths(config.get("image_size", 224)),
        patch_size=int(config.get("patch_size", 16)),
        prefix_tokens=1,
        dimension=int(config.get("hidden_size", 768)),
        load=partial(_load, config),
    )


def _load(config: Mapping[str, Any], weights: Weights) -> VisionTower:
    from clip_image_encoder.models._towers import VisionTower

    model = build_model("ViTModel", config, None, name=weights.name)
    # transformers' own pooling, a layer on top of the class token, is not used.
    model.pooler = None
    weights.fill(model, prefixes=("vit.", ""), old_names=_OLD_NAMES)
    return VisionTower(model, class_token_or_all, dimension=model.config.hidden_size)


FAMILY = Family(name="ViT", model_types={"vit": "vision"}, vision=_vision, image_processor="ViTImageProcessor")
