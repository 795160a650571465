"""DINOv2 (Oquab et al. 2023): the class token after the last layer norm; there is no text tower."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import Family, VisionSpec, Weights
from clip_image_encoder.models._transformers import OLD_ATTENTION, build_model, class_token_or_all, side_lengths

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import VisionTower

__all__ = ["FAMILY"]

_OLD_NAMES = (
    *OLD_ATTENTION,
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
    from clip_image_encoder.models._towers import VisionTower

    model = build_model("Dinov2Model", config, None, name=weights.name)
    weights.fill(model, prefixes=("dinov2.", ""), old_names=_OLD_NAMES, part=_own_half)
    return VisionTower(model, class_token_or_all, dimension=model.config.hidden_size)


def _own_half(name: str, source: str, tensor: Tensor) -> Tensor:
    """Return the gate or the up projection of a SwiGLU out of the one tensor that files keep for both."""
    if ".weights_in." in source and "mlp.gate_proj." in name:
        return tensor.chunk(2, dim=0)[0]
    if ".weights_in." in source and "mlp.up_proj." in name:
        return tensor.chunk(2, dim=0)[1]
    return tensor


FAMILY = Family(name="DINOv2", model_types={"dinov2": "vision"}, vision=_vision)
