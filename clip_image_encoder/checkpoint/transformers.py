"""transformers' format: `config.json`, safetensors, and the image processor's and the tokenizer's files beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from clip_image_encoder._messages import first_line
from clip_image_encoder.checkpoint._files import DEQUANTIZE, TOKENIZER_FILES, Files, pickles, read_json
from clip_image_encoder.checkpoint._format import Format
from clip_image_encoder.checkpoint._safetensors import tensor_names
from clip_image_encoder.errors import CheckpointError, ConfigurationError
from clip_image_encoder.models import Family, TextSpec, VisionSpec, available_families, find_family
from clip_image_encoder.models._general_door import (
    general_text,
    general_vision,
    own_image_processor,
    transformers_knows,
)

__all__ = ["FORMAT"]

_ADAPTERS = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "pytorch_lora_weights.safetensors",
)
_INDEX = "model.safetensors.index.json"


def _vision(config: Mapping[str, Any], name: str) -> VisionSpec:
    """Return the vision tower that a parsed `config.json` describes.

    Raises:
        CheckpointError: The model is unknown to the families and to transformers, has no vision tower, or is quantized.
    """
    family = _family(config, name)
    if family is None:
        return general_vision(config, name=name)
    if family.model_types[config["model_type"]] == "text":
        raise CheckpointError(f"{name}: a checkpoint of a text tower only; there is no vision tower to load")
    with _reading_config(name):
        return family.vision(config)


def _text(config: Mapping[str, Any], name: str) -> TextSpec:
    """Return the text tower that a parsed `config.json` describes.

    Raises:
        CheckpointError: The model is unknown to the families and to transformers, has no text tower, or is quantized.
    """
    family = _family(config, name)
    if family is None:
        return general_text(config, name=name)
    if family.text is None or family.model_types[config["model_type"]] == "vision":
        raise CheckpointError(
            f"{name}: this {family.name} checkpoint has no text tower; its vectors can't be searched by text"
        )
    with _reading_config(name):
        return family.text(config)


def _family(config: Mapping[str, Any], name: str) -> Family | None:
    """Return the family of a model, or None if only transformers knows the model.

    Raises:
        CheckpointError: The model is unknown, needs code of its own, or is quantized.
    """
    family = _claiming_family(config, name)
    for part in (config, config.get("text_config"), config.get("vision_config")):
        method = part.get("quantization_config") if isinstance(part, Mapping) else None
        if method:
            kind = method.get("quant_method", "some method") if isinstance(method, Mapping) else method
            raise CheckpointError(f"{name}: config.json says that it is quantized by {kind}; {DEQUANTIZE}")
    return family


def _family_name(config: Mapping[str, Any]) -> str | None:
    """Return the name of a model's family, or its `model_type` if it has none."""
    model_type = config.get("model_type")
    try:
        return find_family(str(model_type)).name
    except ConfigurationError:
        return None if model_type is None else str(model_type)


def _claiming_family(config: Mapping[str, Any], name: str) -> Family | None:
    model_type = config.get("model_type")
    try:
        return find_family(str(model_type))
    except ConfigurationError as error:
        if "auto_map" in config:
            raise CheckpointError(f"{name}: needs code of its own (auto_map), which is never executed") from error
        if model_type is None and "architecture" in config:
            raise CheckpointError(
                f"{name}: config.json describes timm's {config['architecture']!r}, not a model of transformers"
            ) from error
        if transformers_knows(config):
            return None
        *some, last = available_families()
        raise CheckpointError(
            f"{name}: config.json has model_type {model_type!r}, which the installed transformers doesn't know either; "
            f"supported are {', '.join(some)} and {last}"
        ) from error


@contextmanager
def _reading_config(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers checks some fields, with errors of its own
        raise CheckpointError(f"{name}: config.json is invalid: {first_line(error)}") from error


def _preprocessor_config(files: Files) -> dict[str, Any]:
    """Return the image processor's settings, with the class of the model's family if the file names none.

    Raises:
        CheckpointError: The checkpoint doesn't say how images are prepared, or the model is unknown.
    """
    config = _processor_file(files)
    if not any(config.get(key) for key in ("image_processor_type", "feature_extractor_type", "auto_map")):
        model = read_json(files, "config.json")
        family = _family(model, files.name)
        processor = own_image_processor(model["model_type"]) if family is None else family.image_processor
        config["image_processor_type"] = processor
    return config


def _processor_file(files: Files) -> dict[str, Any]:
    if "preprocessor_config.json" in files.listing:
        return read_json(files, "preprocessor_config.json")
    # transformers 5 writes the image processor's settings into the whole processor's file.
    if "processor_config.json" in files.listing:
        config = read_json(files, "processor_config.json").get("image_processor")
        if isinstance(config, dict):
            return config
    raise CheckpointError(
        f"{files.name}: preprocessor_config.json is missing, which says how images are prepared; "
        "add the file, or pass preprocess=ClipPreprocess(...)"
    )


def _tokenizer_files(files: Files) -> list[str]:
    return [name for name in TOKENIZER_FILES if name in files.listing]


def _weight_files(files: Files) -> list[str]:
    """Return the names of a checkpoint's safetensors files, sorted.

    Raises:
        CheckpointError: The checkpoint has no safetensors, or an adapter that changes them; pickles are refused, since
            loading one can run code.
    """
    adapter = next((name for name in _ADAPTERS if name in files.listing), None)
    if adapter:
        raise CheckpointError(
            f"{files.name}: {adapter} is an adapter, which is not applied; merge it into its base with peft's "
            "merge_and_unload() and save_pretrained(), or move it to another folder to do without it"
        )
    if "model.safetensors" in files.listing:
        return ["model.safetensors"]
    if _INDEX in files.listing:
        return sorted(set(_weight_map(files).values()))
    if pickle := pickles(files.listing):
        raise CheckpointError(
            f"{files.name}: the weights are a pickle only ({pickle}), and loading one can run any code; "
            "convert them with model.save_pretrained(folder, safe_serialization=True)"
        )
    raise CheckpointError(f"{files.name}: no weights; model.safetensors is missing")


def _weight_map(files: Files) -> dict[str, str]:
    """Return which of a checkpoint's shards holds each tensor: {tensor: filename}.

    Raises:
        CheckpointError: The index of the shards can't be read, or is not an index.
    """
    index = read_json(files, _INDEX)
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(f"{files.name}: {_INDEX} has no weight_map of names to files")
    return shards


def _tensors(files: Files) -> Mapping[str, str]:
    """Return which of a checkpoint's safetensors files holds each tensor: {tensor: filename}.

    Raises:
        CheckpointError: The checkpoint has no safetensors, or a file is damaged.
    """
    names = _weight_files(files)
    if names == ["model.safetensors"]:
        return dict.fromkeys(tensor_names(files, names[0]), names[0])
    return _weight_map(files)


def _is_whole(files: Files) -> bool:
    """Tell whether `config.json` is transformers', and not timm's, and there are safetensors."""
    return "model_type" in read_json(files, "config.json") and bool({"model.safetensors", _INDEX} & files.listing)


FORMAT = Format(
    name="transformers",
    config_file="config.json",
    rank=1,
    is_whole=_is_whole,
    family=_family_name,
    vision=_vision,
    text=_text,
    preprocessor_config=_preprocessor_config,
    tokenizer_files=_tokenizer_files,
    weight_files=_weight_files,
    tensors=_tensors,
)
