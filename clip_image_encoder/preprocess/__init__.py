"""From an upright RGB picture to pixels at the model's size, one file a way of doing it."""

from clip_image_encoder.preprocess.clip import ClipPreprocess

__all__ = ["ClipPreprocess"]
