"""CLIP (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision").

Images: the class token, normalized and projected. Texts: the end-of-text token, normalized and projected.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._byte_pairs import byte_pairs
from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.models._transformers import build_model, part_of, side_lengths
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["FAMILY"]


def _plain(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config in which the keys of CLIP's first files, which overrule today's as a whole, are today's."""
    parts = ("vision_config", "text_config")
    old = {part: config[f"{part}_dict"] for part in parts if config.get(f"{part}_dict") is not None}
    return {**config, **old}


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    config = _plain(config)
    part = "vision_config" if config["model_type"] == "clip" else None
    values = part_of(config, part)
    # Only a tower that was saved from CLIPVisionModel has no projection; older files don't say where they are from.
    is_projected = part is not None or "CLIPVisionModelWithProjection" in (config.get("architectures") or ())
    return VisionSpec(
        image_size=side_lengths(values.get("image_size", 224)),
        patch_size=int(values.get("patch_size", 32)),
        prefix_tokens=1,
        load=partial(_load_vision, config, part, is_projected),
    )


def _load_vision(config: Mapping[str, Any], part: str | None, is_projected: bool, weights: Weights) -> VisionTower:
    from torch import nn

    from clip_image_encoder.models._towers import VisionTower

    model = build_model("CLIPVisionModelWithProjection", config, part, name=weights.name)
    weights.fill(model.vision_model, prefixes=("vision_model.", ""))
    if is_projected or "visual_projection.weight" in weights:
        weights.fill(model.visual_projection, prefixes=("visual_projection.",))
        return VisionTower(model, _features, dimension=model.config.projection_dim)
    model.add_module("visual_projection", nn.Identity())
    return VisionTower(model, _features, dimension=model.config.hidden_size)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    features = model.vision_model(pixel_values=cut_to_image(pixels, model.config.patch_size))
    if output == "pooled":
        unprojected = features.pooler_output
    else:
        unprojected = model.vision_model.post_layernorm(features.last_hidden_state)
    projected: Tensor = model.visual_projection(unprojected)
    return projected


def _text(config: Mapping[str, Any]) -> TextSpec:
    config = _plain(config)
    part = "text_config" if config["model_type"] == "clip" else None
    length = int(part_of(config, part).get("max_position_embeddings", 77))
    return TextSpec(
        max_length=length,
        padding="longest",
        tokenizer=byte_pairs,
        load=partial(_load_text, config, part),
    )


def _load_text(config: Mapping[str, Any], part: str | None, weights: Weights) -> TextTower:
    from clip_image_encoder.models._towers import TextTower

    model = build_model("CLIPTextModelWithProjection", config, part, name=weights.name)
    weights.fill(model.text_model, prefixes=("text_model.", ""))
    weights.fill(model.text_projection, prefixes=("text_projection.",))
    return TextTower(model, _vectors, dimension=model.config.projection_dim)


def _vectors(model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    vectors: Tensor = model(input_ids=token_ids, attention_mask=attention_mask).text_embeds
    return vectors


FAMILY = Family(
    name="CLIP",
    model_types={"clip": "both", "clip_vision_model": "vision", "clip_text_model": "text"},
    vision=_vision,
    text=_text,
)
