"""The vision tower of DINOv2 with and without register tokens, which differ in the number of these tokens only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import VisionSpec, Weights
from clip_image_encoder.models._transformers import OLD_ATTENTION, build_model, class_token_or_all, side_lengths

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import VisionTower

__all__ = ["vision_spec"]

_OLD_NAMES = (
    *OLD_ATTENTION,
    (r"\bmlp\.down_proj\b", "mlp.weights_out"),
    (r"\bmlp\.(gate|up)_proj\b", "mlp.weights_in"),
)


def vision_spec(kind: str, config: Mapping[str, Any], *, patch_size: int, registers: int) -> VisionSpec:
    """Return a vision tower whose vector is the class token after the last layer norm.

    Args:
        kind: Name of transformers' class, such as "Dinov2Model".
        config: Parsed `config.json`.
        patch_size: Side of a patch in pixels, for a config that doesn't say it.
        registers: Number of register tokens between the class token and the patches.
    """
    return VisionSpec(
        image_size=side_lengths(config.get("image_size", 224)),
        patch_size=int(config.get("patch_size", patch_size)),
        any_size=True,
        prefix_tokens=1 + registers,
        dimension=int(config.get("hidden_size", 768)),
        load=partial(_load, kind, config),
    )


def _load(kind: str, config: Mapping[str, Any], weights: Weights) -> VisionTower:
    from clip_image_encoder.models._towers import VisionTower

    model = build_model(kind, config, None, name=weights.name)
    # In a classifier's file the names of the tower's tensors start with its model_type.
    prefixes = (f"{config['model_type']}.", "")
    weights.fill(model, prefixes=prefixes, old_names=_OLD_NAMES, part=_own_half)
    return VisionTower(model, class_token_or_all, dimension=model.config.hidden_size)


def _own_half(name: str, source: str, tensor: Tensor) -> Tensor:
    """Return the gate or the up projection of a SwiGLU layer out of the one tensor that files store for both."""
    if ".weights_in." in source and "mlp.gate_proj." in name:
        return tensor.chunk(2, dim=0)[0]
    if ".weights_in." in source and "mlp.up_proj." in name:
        return tensor.chunk(2, dim=0)[1]
    return tensor
