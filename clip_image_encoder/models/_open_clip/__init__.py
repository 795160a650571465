"""open_clip's models, which the `model_cfg` of an `open_clip_config.json` describes.

Its own ViTs, the ViTs of SigLIP that it takes from timm, and its text transformers are loaded here into models of
transformers; all others are built by the open_clip package. The fields of a `model_cfg` are those of `CLIPVisionCfg`
and `CLIPTextCfg` in open_clip's `model.py`.
"""

from __future__ import annotations

from clip_image_encoder.models._open_clip.text import text_spec
from clip_image_encoder.models._open_clip.vision import vision_spec

__all__ = ["text_spec", "vision_spec"]
