"""DINOv2 (Oquab et al. 2023): the class token after the last layer norm; there is no text tower."""

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

# Files keep the names of 2023; transformers 5 renamed the modules.
_OLD_NAMES = (
    (r"^layers\.", "encoder.layer."),
    (r"\battention\.q_proj\b", "attention.attention.query"),
    (r"\battention\.k_proj\b", "attention.attention.key"),
    (r"\battention\.v_proj\b", "attention.attention.value"),
    (r"\battention\.o_proj\b", "attention.output.dense"),
    (r"\bmlp\.down_proj\b", "mlp.weights_out"),
    (r"\bmlp\.(gate|up)_proj\b", "mlp.weights_in"),
)


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    return VisionSpec(
        image_size=side_lengths(config.get("image_size", 224)),
        patch_size=int(config.get("patch_size", 14)),
        any_size=True,
        prefix_tokens=1,
        load=partial(_load, config),
    )


def _load(config: Mapping[str, Any], weights: Weights) -> VisionTower:
    from transformers import Dinov2Model

    from clip_image_encoder.models._towers import VisionTower, build

    tower = tower_config("Dinov2Config", config, None, name=weights.name)
    model = build(lambda: Dinov2Model(tower))
    weights.fill(model, prefixes=("dinov2.", ""), old_names=_OLD_NAMES, part=_own_half)
    return VisionTower(model, _features, dimension=tower.hidden_size)


def _own_half(name: str, source: str, tensor: Tensor) -> Tensor:
    """Return the gate or the up projection of a SwiGLU out of the one tensor that files keep for both."""
    if ".weights_in." in source and "mlp.gate_proj." in name:
        return tensor.chunk(2, dim=0)[0]
    if ".weights_in." in source and "mlp.up_proj." in name:
        return tensor.chunk(2, dim=0)[1]
    return tensor


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    tokens: Tensor = model(pixel_values=cut_to_image(pixels, model.config.patch_size)).last_hidden_state
    return tokens[:, 0] if output == "pooled" else tokens


FAMILY = Family(name="DINOv2", model_types={"dinov2": "vision"}, vision=_vision)
