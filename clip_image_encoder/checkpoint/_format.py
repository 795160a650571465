"""What a checkpoint format says of itself, and which formats there are."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from clip_image_encoder.checkpoint._files import Files
from clip_image_encoder.models import TextSpec, VisionSpec

__all__ = ["Format", "find_format"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a kind of checkpoint is laid out.

    Attributes:
        config_file: Name of the JSON file that describes the model; a checkpoint that has it is of this format.
        vision: Reads the vision tower off the parsed config; called with the checkpoint's name for messages.
        text: Reads the text tower, likewise.
        preprocessor_config: Returns the image processor's settings, in the words of transformers.
        tokenizer_files: Returns the names of the tokenizer's files.
        weight_files: Returns the names of the safetensors files, sorted.
        tensors: Returns which of these files holds each tensor: {tensor: filename}.
    """

    config_file: str
    vision: Callable[[Mapping[str, Any], str], VisionSpec]
    text: Callable[[Mapping[str, Any], str], TextSpec]
    preprocessor_config: Callable[[Files], dict[str, Any]]
    tokenizer_files: Callable[[Files], list[str]]
    weight_files: Callable[[Files], list[str]]
    tensors: Callable[[Files], Mapping[str, str]]


def find_format(listing: frozenset[str]) -> Format | None:
    """Return the format of a checkpoint with files of these names, or None."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if not module.name.startswith("_"):
            format: Format = importlib.import_module(f"{package}.{module.name}").FORMAT  # noqa: A001
            if format.config_file in listing:
                return format
    return None
