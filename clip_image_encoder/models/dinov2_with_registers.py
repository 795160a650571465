"""DINOv2 with register tokens (Darcet et al. 2023, "Vision Transformers Need Registers"); there is no text tower.

The vector is the class token after the last layer norm; the registers are between it and the patch tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_image_encoder.models._dinov2 import vision_spec
from clip_image_encoder.models._family import Family, VisionSpec

__all__ = ["FAMILY"]


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    registers = int(config.get("num_register_tokens", 4))
    return vision_spec("Dinov2WithRegistersModel", config, patch_size=16, registers=registers)


FAMILY = Family(
    name="DINOv2 with registers",
    model_types={"dinov2_with_registers": "vision"},
    vision=_vision,
)
