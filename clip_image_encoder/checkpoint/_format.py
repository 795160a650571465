"""What a checkpoint format says of itself, and which formats there are."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from clip_image_encoder.checkpoint._files import Files, read_json
from clip_image_encoder.models import TextSpec, VisionSpec

__all__ = ["Format", "config_files", "find_format", "format_of_name", "format_with"]


def _no_other_file(_files: Files) -> list[str]:
    return []


def _any_runtime(_config: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Format:
    """How a kind of checkpoint is laid out.

    Attributes:
        name: What people call it, such as "transformers".
        config_file: Name of the JSON file that describes the model; a checkpoint that has it may be of this format.
        rank: Where files of several formats lie side by side, the lowest is taken of those that are whole.
        is_whole: Tells whether the files describe a model and hold weights that can be read.
        prefixes: What a model's name may start with to say that it is of this format, such as "hf-hub:".
        read: Returns what describes the model, given the name of the config file: that file parsed, by default.
        other_configs: Returns the names of further files that describe the model; the fingerprint is of theirs, too.
        family: Names the kind of model that the parsed config describes, or returns None where nothing names it.
        vision: Reads the vision tower off the parsed config; called with the checkpoint's name for messages.
        text: Reads the text tower, likewise.
        preprocessor_config: Returns the image processor's settings, in the words of transformers.
        tokenizer_files: Returns the names of the tokenizer's files.
        weight_files: Returns the names of the safetensors files, sorted.
        runtime: Returns the name of the backend that alone runs a parsed config's model, or None where any may.
        numbers: Returns the single numbers that a parsed config has, by their names; None where they are tensors.
        tensors: Returns which of these files holds each tensor: {tensor: filename}. A tensor of a file "folder/name"
            may be listed as "folder/tensor", so that those of several folders are told apart.
    """

    name: str
    config_file: str
    rank: int
    is_whole: Callable[[Files], bool]
    prefixes: tuple[str, ...] = ()
    read: Callable[[Files, str], dict[str, Any]] = read_json
    other_configs: Callable[[Files], list[str]] = _no_other_file
    family: Callable[[Mapping[str, Any]], str | None]
    vision: Callable[[Mapping[str, Any], str], VisionSpec]
    text: Callable[[Mapping[str, Any], str], TextSpec]
    preprocessor_config: Callable[[Files], dict[str, Any]]
    tokenizer_files: Callable[[Files], list[str]]
    weight_files: Callable[[Files], list[str]]
    tensors: Callable[[Files], Mapping[str, str]]
    runtime: Callable[[Mapping[str, Any]], str | None] = _any_runtime
    numbers: Callable[[Mapping[str, Any]], Mapping[str, float]] | None = None


def find_format(files: Files) -> Format | None:
    """Return the format of a checkpoint, or None where it has none of the files that describe a model.

    Raises:
        CheckpointError: There are several such files, and one of them can't be read.
    """
    found = [format for format in _formats() if format.config_file in files.listing]  # noqa: A001
    if len(found) > 1:
        found = [format for format in found if format.is_whole(files)] or found  # noqa: A001
    return found[0] if found else None


def format_of_name(model: str) -> tuple[Format | None, str]:
    """Return the format that a model's name says, or None, and the name without its prefix.

    Example:
        >>> from clip_image_encoder.checkpoint._format import format_of_name
        >>> format_of_name("openai/clip-vit-base-patch32")
        (None, 'openai/clip-vit-base-patch32')
    """
    for format in _formats():  # noqa: A001
        for prefix in format.prefixes:
            if model.startswith(prefix):
                return format, model.removeprefix(prefix)
    return None, model


def format_with(config_file: str) -> Format | None:
    """Return the format whose models are described by a file of that name, or None."""
    return next((format for format in _formats() if format.config_file == config_file), None)  # noqa: A001


def config_files() -> list[str]:
    """Return the names of the files that describe a model, in the order of their formats."""
    return [format.config_file for format in _formats()]  # noqa: A001


def _formats() -> Sequence[Format]:
    package = importlib.import_module(__name__.rpartition(".")[0])
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    formats: list[Format] = [importlib.import_module(f"{package.__name__}.{name}").FORMAT for name in names]
    return sorted(formats, key=attrgetter("rank"))
