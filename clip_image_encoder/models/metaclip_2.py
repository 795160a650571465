"""MetaCLIP 2 (Chuang et al. 2025, "Meta CLIP 2: A Worldwide Scaling Recipe"): CLIP's towers, and texts in any language.

Images: like CLIP's. Texts: the first token with the config's `eos_token_id`, after the last layer norm, projected. With
the same id, which is 2, older configs of CLIP mean the token with the highest id.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_image_encoder.models._clip import text_spec, vision_spec
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec

__all__ = ["FAMILY"]


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    part = "vision_config" if config["model_type"] == "metaclip_2" else None
    return vision_spec("MetaClip2VisionModelWithProjection", config, part)


def _text(config: Mapping[str, Any]) -> TextSpec:
    part = "text_config" if config["model_type"] == "metaclip_2" else None
    return text_spec("MetaClip2TextModelWithProjection", config, part)


FAMILY = Family(
    name="MetaCLIP 2",
    model_types={"metaclip_2": "both", "metaclip_2_vision_model": "vision", "metaclip_2_text_model": "text"},
    vision=_vision,
    text=_text,
)
