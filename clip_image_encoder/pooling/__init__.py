"""Poolings: a backend's features become one vector for each image; each way to do so has one file."""

from clip_image_encoder.pooling.class_token import ClassTokenPooling
from clip_image_encoder.pooling.mean_patches import MeanPatchesPooling
from clip_image_encoder.pooling.pretrained import PretrainedPooling

__all__ = ["ClassTokenPooling", "MeanPatchesPooling", "PretrainedPooling"]
