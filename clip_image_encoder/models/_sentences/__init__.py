"""Text towers of sentence-transformers, and towers that scale their vectors to length 1 as a part of the model."""

from __future__ import annotations

from clip_image_encoder.models._sentences.normalized import normalized_text, normalized_vision
from clip_image_encoder.models._sentences.towers import ENCODERS, Module, text_spec

__all__ = ["ENCODERS", "Module", "normalized_text", "normalized_vision", "text_spec"]
