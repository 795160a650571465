"""The interface of a checkpoint format, and the list of the formats."""

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


def _own_weights(_config: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Format:
    """A checkpoint format: how a checkpoint of this format is recognized, and how its files are read.

    Attributes:
        name: Name that people know it by, such as "transformers".
        config_file: Name of the JSON file that describes the model; a checkpoint that has it may be of this format.
        rank: Precedence of the format where one checkpoint has complete files of several: the lowest is taken.
        is_whole: Function of the files; tells whether they describe a model and hold weights that can be read.
        prefixes: Prefixes by which a model's name asks for this format, such as "hf-hub:"; none by default.
        read: Function of the files and the name of the config file; returns the description of the model, by default
            that file parsed. The functions below that take a config take this description.
        other_configs: Function of the files; returns the names of further files that describe the model, which the
            fingerprint covers; none by default.
        family: Function of the config; returns the name of the model's kind, or None if nothing names it.
        vision: Function of the config and of the checkpoint's name for messages; returns the vision tower.
        text: Function of the config and of the checkpoint's name for messages; returns the text tower.
        preprocessor_config: Function of the files; returns the image processor's settings in the words of transformers.
        tokenizer_files: Function of the files; returns the names of the tokenizer's files.
        weight_files: Function of the files; returns the names of the safetensors files, sorted.
        tensors: Function of the files; returns which of the safetensors files holds each tensor: {tensor: filename}.
            A tensor of a file "folder/name" may be listed as "folder/tensor", to tell those of several folders apart.
        runtime: Function of the config; returns the name of the only backend that runs the model, or None, which is
            the default, if any backend may.
        source: Function of the config; returns the fingerprint of the checkpoint that this one was made from, or None,
            which is the default, if it was made from no other.
        numbers: Function of the config; returns its single numbers, such as "logit_scale", by name. None, the default,
            if they are tensors of the weights.
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
    source: Callable[[Mapping[str, Any]], str | None] = _own_weights
    numbers: Callable[[Mapping[str, Any]], Mapping[str, float]] | None = None


def find_format(files: Files) -> Format | None:
    """Return the format of a checkpoint, or None if it has none of the files that describe a model.

    Raises:
        CheckpointError: The checkpoint has several such files, and one of them can't be read.
    """
    found = [format for format in _formats() if format.config_file in files.listing]  # noqa: A001
    if len(found) > 1:
        found = [format for format in found if format.is_whole(files)] or found  # noqa: A001
    return found[0] if found else None


def format_of_name(model: str) -> tuple[Format | None, str]:
    """Return the format that a model's name asks for, or None, and the name without the format's prefix.

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
    """Return the format whose config file has a given name, or None."""
    return next((format for format in _formats() if format.config_file == config_file), None)  # noqa: A001


def config_files() -> list[str]:
    """Return the names of all formats' config files, in the order of the formats' ranks."""
    return [format.config_file for format in _formats()]  # noqa: A001


def _formats() -> Sequence[Format]:
    package = importlib.import_module(__name__.rpartition(".")[0])
    names = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]
    formats: list[Format] = [importlib.import_module(f"{package.__name__}.{name}").FORMAT for name in names]
    return sorted(formats, key=attrgetter("rank"))
