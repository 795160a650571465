"""What checkpoints compute: one file a model family, and the folder is the registry.

A family's file says which `model_type`s of `config.json` it answers to, what the rest of that file means, how its
tensors are named in files of any age, and what its towers compute. Its `FAMILY` is all that the package reads of it.
To add a family, add a file; nothing else has to know. A family outside of this package is found through the entry
point group "clip_image_encoder.models". Files whose name starts with an underscore are parts, not families.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from clip_image_encoder.errors import MissingExtraError
from clip_image_encoder.models._cut import cut, cut_to_image
from clip_image_encoder.models._family import Family, TextSpec, TextTokenizer, TokenizerFiles, VisionSpec, Weights
from clip_image_encoder.models._registry import available_families, find_family

if TYPE_CHECKING:
    from clip_image_encoder.models._towers import TextTower, VisionTower, build

__all__ = [
    "Family",
    "TextSpec",
    "TextTokenizer",
    "TextTower",
    "TokenizerFiles",
    "VisionSpec",
    "VisionTower",
    "Weights",
    "available_families",
    "build",
    "cut",
    "cut_to_image",
    "find_family",
]


def _import(name: str) -> object:
    # Torch comes with the first name that needs it.
    if name not in ("TextTower", "VisionTower", "build"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}._towers"), name)
    except ModuleNotFoundError as error:  # who runs exported folders may do without torch
        raise MissingExtraError(f"{__name__}.{name} needs {error.name}: python -m pip install torch") from error


if not TYPE_CHECKING:  # which would take any misspelt name for an object
    __getattr__ = _import
