"""Checks of number arguments, for integrations that have such arguments of their own."""

from __future__ import annotations

from clip_image_encoder._arguments import check_batch_size, check_count, check_number

__all__ = ["check_batch_size", "check_count", "check_number"]
