"""From a backend's features to one vector a picture, one file a way of doing it."""

from clip_image_encoder.pooling.class_token import ClassTokenPooling
from clip_image_encoder.pooling.mean_patches import MeanPatchesPooling
from clip_image_encoder.pooling.pretrained import PretrainedPooling

__all__ = ["ClassTokenPooling", "MeanPatchesPooling", "PretrainedPooling"]
