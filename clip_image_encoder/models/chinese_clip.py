"""Chinese CLIP (Yang et al. 2022, "Chinese CLIP: Contrastive Vision-Language Pretraining in Chinese").

Images: like CLIP's. Texts: the first token of a Chinese RoBERTa, projected.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._clip import plain, vision_spec
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.models._first_token import load_text
from clip_image_encoder.models._transformers import part_of

if TYPE_CHECKING:
    from clip_image_encoder.models._towers import TextTower

__all__ = ["FAMILY"]


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    part = "vision_config" if config["model_type"] == "chinese_clip" else None
    return vision_spec("CLIPVisionModelWithProjection", config, part)


def _text(config: Mapping[str, Any]) -> TextSpec:
    config = plain(config)
    length = int(part_of(config, "text_config").get("max_position_embeddings", 512))
    return TextSpec(max_length=length, padding="longest", load=partial(_load_text, config))


def _load_text(config: Mapping[str, Any], weights: Weights) -> TextTower:
    return load_text("ChineseCLIPTextModel", config, weights, dimension=config.get("projection_dim", 512))


# A text tower alone, chinese_clip_text_model, has no projection: its vectors can't be compared with those of images.
FAMILY = Family(
    name="Chinese CLIP",
    model_types={"chinese_clip": "both", "chinese_clip_vision_model": "vision"},
    vision=_vision,
    text=_text,
    image_processor="ChineseCLIPImageProcessor",
)
