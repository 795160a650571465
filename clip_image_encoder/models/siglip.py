"""SigLIP (Zhai et al. 2023, "Sigmoid Loss for Language Image Pre-Training"), and SigLIP 2 at fixed sizes.

Images: an attention head over the patches; there is no class token. Texts: the last token through a linear head;
they are padded to their full length, which the tower attends to, since it was trained so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._configs import part_of, side_lengths, tower_config
from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["FAMILY"]


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    part = "vision_config" if config["model_type"] == "siglip" else None
    values = part_of(config, part)
    return VisionSpec(
        image_size=side_lengths(values.get("image_size", 224)),
        patch_size=int(values.get("patch_size", 16)),
        # A tower that was saved without its head has tokens only.
        outputs=frozenset({"pooled", "tokens"})
        if values.get("vision_use_head") is not False
        else frozenset({"tokens"}),
        prefix_tokens=0,
        load=partial(_load_vision, config, part),
    )


def _load_vision(config: Mapping[str, Any], part: str | None, weights: Weights) -> VisionTower:
    from transformers import SiglipVisionModel

    from clip_image_encoder.models._towers import VisionTower, bare, build

    tower = tower_config("SiglipVisionConfig", config, part, name=weights.name)
    model = build(lambda: SiglipVisionModel(tower))
    weights.fill(bare(model, "vision_model"), prefixes=("vision_model.", ""))
    return VisionTower(model, _features, dimension=tower.hidden_size)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    features = model(pixel_values=cut_to_image(pixels, model.config.patch_size))
    wanted: Tensor = features.pooler_output if output == "pooled" else features.last_hidden_state
    return wanted


def _text(config: Mapping[str, Any]) -> TextSpec:
    part = "text_config" if config["model_type"] == "siglip" else None
    length = int(part_of(config, part).get("max_position_embeddings", 64))
    return TextSpec(max_length=length, padding="max_length", load=partial(_load_text, config, part))


def _load_text(config: Mapping[str, Any], part: str | None, weights: Weights) -> TextTower:
    from transformers import SiglipTextModel

    from clip_image_encoder.models._towers import TextTower, bare, build

    tower = tower_config("SiglipTextConfig", config, part, name=weights.name)
    model = build(lambda: SiglipTextModel(tower))
    weights.fill(bare(model, "text_model"), prefixes=("text_model.", ""))
    return TextTower(model, _vectors, dimension=tower.projection_size)


def _vectors(model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    vectors: Tensor = model(input_ids=token_ids, attention_mask=attention_mask).pooler_output
    return vectors


FAMILY = Family(
    name="SigLIP",
    model_types={"siglip": "both", "siglip_vision_model": "vision", "siglip_text_model": "text"},
    vision=_vision,
    text=_text,
)
