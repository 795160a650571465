"""Chooses the code that computes a vision tower of open_clip's format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_image_encoder.models._family import VisionSpec
from clip_image_encoder.models._open_clip import package, siglip, vit

__all__ = ["vision_spec"]


def vision_spec(model: Mapping[str, Any]) -> VisionSpec:
    """Return the vision tower of a `model_cfg`."""
    if vit.knows(model["vision_cfg"]):
        return vit.vision_spec(model)
    if siglip.knows(model["vision_cfg"]):
        return siglip.vision_spec(model)
    return package.vision_spec(model)
