"""ViT (Dosovitskiy et al. 2020): the class token after the last layer norm; there is no text tower."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._configs import side_lengths, tower_config
from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.models._family import Family, VisionSpec, Weights
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import VisionTower

__all__ = ["FAMILY"]

# Files keep the names of 2021; transformers 5 renamed the modules.
_OLD_NAMES = (
    (r"^layers\.", "encoder.layer."),
    (r"\battention\.q_proj\b", "attention.attention.query"),
    (r"\battention\.k_proj\b", "attention.attention.key"),
    (r"\battention\.v_proj\b", "attention.attention.value"),
    (r"\battention\.o_proj\b", "attention.output.dense"),
    (r"\bmlp\.fc1\b", "intermediate.dense"),
    (r"\bmlp\.fc2\b", "output.dense"),
)


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    return VisionSpec(
        image_size=side_lengths(config.get("image_size", 224)),
        patch_size=int(config.get("patch_size", 16)),
        prefix_tokens=1,
        load=partial(_load, config),
    )


def _load(config: Mapping[str, Any], weights: Weights) -> VisionTower:
    from transformers import ViTModel

    from clip_image_encoder.models._towers import VisionTower, build

    tower = tower_config("ViTConfig", config, None, name=weights.name)
    model = build(lambda: ViTModel(tower, add_pooling_layer=False))
    weights.fill(model, prefixes=("vit.", ""), old_names=_OLD_NAMES)
    return VisionTower(model, _features, dimension=tower.hidden_size)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    tokens: Tensor = model(pixel_values=cut_to_image(pixels, model.config.patch_size)).last_hidden_state
    return tokens[:, 0] if output == "pooled" else tokens


FAMILY = Family(name="ViT", model_types={"vit": "vision"}, vision=_vision)
