"""CLIP (Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision").

Images: the class token after the last layer norm, projected. Texts: the end-of-text token after the last layer norm,
projected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clip_image_encoder.models._byte_pairs import byte_pairs
from clip_image_encoder.models._clip import text_spec, vision_spec
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec

__all__ = ["FAMILY"]


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    part = "vision_config" if config["model_type"] == "clip" else None
    return vision_spec("CLIPVisionModelWithProjection", config, part)


def _text(config: Mapping[str, Any]) -> TextSpec:
    part = "text_config" if config["model_type"] == "clip" else None
    return replace(text_spec("CLIPTextModelWithProjection", config, part), tokenizer=byte_pairs)


FAMILY = Family(
    name="CLIP",
    model_types={"clip": "both", "clip_vision_model": "vision", "clip_text_model": "text"},
    vision=_vision,
    text=_text,
)
