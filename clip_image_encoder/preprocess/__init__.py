"""From an upright RGB image to pixels at the model's size, one file a way of doing it."""

from __future__ import annotations

from clip_image_encoder.preprocess._registry import general_preprocess_of, preprocess_of
from clip_image_encoder.preprocess.clip import ClipPreprocess
from clip_image_encoder.preprocess.naflex import NaflexPreprocess

__all__ = ["ClipPreprocess", "NaflexPreprocess", "general_preprocess_of", "preprocess_of"]
