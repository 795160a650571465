"""Preprocessing: an upright RGB image becomes pixels at the model's size; each way to do so has one file."""

from __future__ import annotations

from clip_image_encoder.preprocess._registry import preprocess_of
from clip_image_encoder.preprocess.clip import ClipPreprocess
from clip_image_encoder.preprocess.naflex import NaflexPreprocess
from clip_image_encoder.preprocess.open_clip import OpenClipPreprocess

__all__ = ["ClipPreprocess", "NaflexPreprocess", "OpenClipPreprocess", "preprocess_of"]
