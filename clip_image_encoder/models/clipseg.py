"""The CLIP in CLIPSeg (Lüddecke and Ecker 2022, "Image Segmentation Using Text and Image Prompts").

Images and texts: like CLIP's. Images may have any size, to which the positions are resized; the published checkpoints
take 352 x 352 pixels. The decoder that segments images is not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_image_encoder.models._clip import text_spec, vision_spec
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec

__all__ = ["FAMILY"]

_PREFIX = "clip."


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    part = "vision_config" if config["model_type"] == "clipseg" else None
    return vision_spec("CLIPVisionModelWithProjection", config, part, prefix=_PREFIX, any_size=True)


def _text(config: Mapping[str, Any]) -> TextSpec:
    return text_spec("CLIPTextModelWithProjection", config, "text_config", prefix=_PREFIX)


# A text tower alone, clipseg_text_model, has no projection: its vectors can't be compared with those of images.
FAMILY = Family(
    name="CLIPSeg",
    model_types={"clipseg": "both", "clipseg_vision_model": "vision"},
    vision=_vision,
    text=_text,
    image_processor="ViTImageProcessor",
)
