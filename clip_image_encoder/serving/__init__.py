"""Micro-batching for servers: single calls that arrive at about the same time are encoded as one batch."""

from __future__ import annotations

from clip_image_encoder.serving.micro_batcher import MicroBatcher
from clip_image_encoder.serving.stats import BatcherStats
from clip_image_encoder.serving.worker import ImageStream

__all__ = ["BatcherStats", "ImageStream", "MicroBatcher"]
