"""Vectors of pictures that were seen before, from memory or from disk; off unless you wrap an encoder in it."""

from __future__ import annotations

from clip_image_encoder.cache.disk import DiskCache
from clip_image_encoder.cache.encoder import CachedEncoder, EmbeddingCache
from clip_image_encoder.cache.memory import MemoryCache

__all__ = ["CachedEncoder", "DiskCache", "EmbeddingCache", "MemoryCache"]
