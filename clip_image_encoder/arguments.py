"""The rule for numbers that are given, for those who write an integration with numbers of its own."""

from __future__ import annotations

from clip_image_encoder._arguments import check_count, check_number

__all__ = ["check_count", "check_number"]
