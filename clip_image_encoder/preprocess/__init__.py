"""From an upright RGB image to pixels at the model's size, one file a way of doing it."""

from __future__ import annotations

from clip_image_encoder.preprocess._registry import preprocess_of
from clip_image_encoder.preprocess.clip import ClipPreprocess
from clip_image_encoder.preprocess.naflex import NaflexPreprocess
from clip_image_encoder.preprocess.open_clip import OpenClipPreprocess

__all__ = ["ClipPreprocess", "NaflexPreprocess", "OpenClipPreprocess", "preprocess_of"]
