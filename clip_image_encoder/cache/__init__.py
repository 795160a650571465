"""Caches of vectors in memory or on disk, so that no image is encoded twice; used by wrapping an encoder."""

from __future__ import annotations

from clip_image_encoder.cache.disk import DiskCache
from clip_image_encoder.cache.encoder import CachedEncoder, EmbeddingCache
from clip_image_encoder.cache.memory import MemoryCache

__all__ = ["CachedEncoder", "DiskCache", "EmbeddingCache", "MemoryCache"]
