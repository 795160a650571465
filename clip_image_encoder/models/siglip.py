"""SigLIP (Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training"), and SigLIP 2 at fixed sizes.

Images: an attention head pools the patch tokens; there is no class token. Texts: the last token, through a linear head.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.models._siglip import outputs_of, pooled_or_patches, text_spec
from clip_image_encoder.models._transformers import build_model, part_of, side_lengths
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import VisionTower

__all__ = ["FAMILY"]


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    part = "vision_config" if config["model_type"] == "siglip" else None
    values = part_of(config, part)
    return VisionSpec(
        image_size=side_lengths(values.get("image_size", 224)),
        patch_size=int(values.get("patch_size", 16)),
        outputs=outputs_of(values),
        prefix_tokens=0,
        dimension=int(values.get("hidden_size", 768)),
        load=partial(_load_vision, config, part),
    )


def _load_vision(config: Mapping[str, Any], part: str | None, weights: Weights) -> VisionTower:
    from clip_image_encoder.models._towers import VisionTower, bare

    model = build_model("SiglipVisionModel", config, part, name=weights.name)
    weights.fill(bare(model, "vision_model"), prefixes=("vision_model.", ""))
    return VisionTower(model, _features, dimension=model.config.hidden_size)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    return pooled_or_patches(model(pixel_values=cut_to_image(pixels, model.config.patch_size)), output)


def _text(config: Mapping[str, Any]) -> TextSpec:
    return text_spec("SiglipTextModel", config, "text_config" if config["model_type"] == "siglip" else None)


FAMILY = Family(
    name="SigLIP",
    model_types={"siglip": "both", "siglip_vision_model": "vision", "siglip_text_model": "text"},
    vision=_vision,
    text=_text,
    image_processor="SiglipImageProcessor",
)
