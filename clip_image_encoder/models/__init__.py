"""What checkpoints compute: one file a model family, and the folder is the registry.

A family's file says which `model_type`s of `config.json` it answers to, what the rest of that file means, how its
tensors are named in files of any age, and what its towers compute. Its `FAMILY` is all that the package reads of it.
To add a family, add a file; nothing else has to know. A family outside of this package is found through the entry
point group "clip_image_encoder.models". Files whose name starts with an underscore are parts, not families.
"""

from __future__ import annotations

from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.models._registry import available_families, find_family

__all__ = ["Family", "TextSpec", "VisionSpec", "Weights", "available_families", "find_family"]
