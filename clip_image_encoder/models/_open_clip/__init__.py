"""open_clip's models, as `model_cfg` of an `open_clip_config.json` describes them.

Its ViTs, SigLIP's ViTs of timm and its text transformers are read here into towers of transformers; for the names of
the fields see `CLIPVisionCfg` and `CLIPTextCfg` in open_clip's `model.py`. All others are built by open_clip itself.
"""

from __future__ import annotations

from clip_image_encoder.models._open_clip.text import text_spec
from clip_image_encoder.models._open_clip.vision import vision_spec

__all__ = ["text_spec", "vision_spec"]
