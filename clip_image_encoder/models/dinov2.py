"""DINOv2 (Oquab et al. 2023, "DINOv2: Learning Robust Visual Features without Supervision"); there is no text tower.

The vector is the class token after the last layer norm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_image_encoder.models._dinov2 import vision_spec
from clip_image_encoder.models._family import Family, VisionSpec

__all__ = ["FAMILY"]


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    return vision_spec("Dinov2Model", config, patch_size=14, registers=0)


FAMILY = Family(name="DINOv2", model_types={"dinov2": "vision"}, vision=_vision)
