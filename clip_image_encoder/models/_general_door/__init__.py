"""The general door: models that no family supports, each run by its own class of transformers."""

from __future__ import annotations

from clip_image_encoder.models._general_door.own_class import own_image_processor, transformers_knows
from clip_image_encoder.models._general_door.towers import general_text, general_vision

__all__ = ["general_text", "general_vision", "own_image_processor", "transformers_knows"]
