"""Model families: how the towers of a checkpoint are built and what they compute, one file for each family.

A family's file says which `model_type`s of `config.json` it supports, what the rest of that file means, how older
files name its tensors, and what its towers compute. The package reads only its constant `FAMILY`. To add a family, add
a file to this folder; no list has to be changed. Another package adds a family through the entry point group
"clip_image_encoder.models". Files whose names start with an underscore hold code that families share.
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
    # Torch is imported with the first name that needs it.
    if name not in ("TextTower", "VisionTower", "build"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}._towers"), name)
    except ModuleNotFoundError as error:  # exported folders are run without torch
        raise MissingExtraError(f"{__name__}.{name} needs {error.name}: python -m pip install torch") from error


if not TYPE_CHECKING:  # or else type checkers would accept any misspelled name
    __getattr__ = _import
