"""Ray Data: images encoded by many actors on many machines."""

from __future__ import annotations

from clip_image_encoder.integrations.ray.embed import EmbedImages
from clip_image_encoder.integrations.ray.job import embed_images

__all__ = ["EmbedImages", "embed_images"]
