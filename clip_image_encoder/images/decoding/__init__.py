"""Decoding of image files: each format that Pillow needs help with has one file."""

from __future__ import annotations

from clip_image_encoder.images.decoding.decode import decode, decode_opened, decode_pil
from clip_image_encoder.images.decoding.decoded import Decoded
from clip_image_encoder.images.decoding.raw import RawPhotos, check_rawpy
from clip_image_encoder.images.decoding.truncation import Truncated

__all__ = ["Decoded", "RawPhotos", "Truncated", "check_rawpy", "decode", "decode_opened", "decode_pil"]
