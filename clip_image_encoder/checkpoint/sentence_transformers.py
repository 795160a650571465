"""sentence-transformers' format: `modules.json` lists the modules of a model, each with files in its own folder.

Two kinds of lists are read: a model with both towers in transformers' format, and a text tower of a Transformer, a
Pooling and what follows. In both, the first module's folder is like a checkpoint in transformers' format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from clip_image_encoder.checkpoint import transformers
from clip_image_encoder.checkpoint._files import Files, has_safetensors, parse_json
from clip_image_encoder.checkpoint._format import Format
from clip_image_encoder.checkpoint._modules import (
    MODULES,
    FolderOf,
    SavedModel,
    is_list_of_modules,
    read_model,
    read_modules,
)
from clip_image_encoder.checkpoint._safetensors import tensor_names
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models import TextSpec, VisionSpec
from clip_image_encoder.models._sentences import ENCODERS, Module, normalized_text, normalized_vision, text_spec

__all__ = ["FORMAT"]

_WEIGHTS = "model.safetensors"
_PICKLE = "pytorch_model.bin"
_FIRST = ("CLIPModel", "Transformer")
_BEHIND = ("Dense", "Normalize")


def _read(files: Files, _filename: str) -> dict[str, Any]:
    return {"model": read_model(files)}


def _is_sentence(modules: Sequence[Module]) -> bool:
    """Tell whether modules are a text tower: a Transformer, a Pooling, and what may follow."""
    kinds = [module.kind for module in modules]
    return kinds[:2] == ["Transformer", "Pooling"] and set(kinds[2:]) <= set(_BEHIND)


def _whole_model(modules: Sequence[Module], name: str) -> Module:
    """Return the module that is a model in transformers' format, alone or followed only by Normalize.

    Raises:
        CheckpointError: Other modules are listed.
    """
    first, *others = modules
    odd = next((module for module in others if module.kind != "Normalize"), None)
    odd = first if first.kind not in _FIRST else odd
    if odd is None:
        return first
    if "." in odd.kind:
        raise CheckpointError(f"{name}: the module {odd.kind} needs code of its own, which is never executed")
    raise CheckpointError(
        f"{name}: {MODULES} has {odd.kind} among {', '.join(module.kind for module in modules)}; supported are "
        "CLIPModel, and for texts a Transformer and a Pooling, followed by Dense and Normalize"
    )


def _image_model(modules: Sequence[Module], name: str) -> Module:
    """Return the module that has a vision tower.

    Raises:
        CheckpointError: The modules are a text tower alone, or are not supported.
    """
    if _is_sentence(modules) and modules[0].config.get("model_type") in ENCODERS:
        raise CheckpointError(
            f"{name}: a text tower only; there is no vision tower to load. Its texts are compared with the images of "
            "the checkpoint that it was trained beside: clip-ViT-B-32-multilingual-v1 with those of clip-ViT-B-32"
        )
    return _whole_model(modules, name)


def _vision(config: Mapping[str, Any], name: str) -> VisionSpec:
    model: SavedModel = config["model"]
    spec = transformers.FORMAT.vision(_image_model(model.modules, name).config, name)
    return normalized_vision(spec) if len(model.modules) > 1 else spec


def _text(config: Mapping[str, Any], name: str) -> TextSpec:
    model: SavedModel = config["model"]
    if model.prompt:
        raise CheckpointError(
            f"{name}: config_sentence_transformers.json has a default prompt, {model.prompt!r}, which is not "
            "supported; take default_prompt_name out of it, and put the prompt before your texts"
        )
    return _sentence_tower(model, name) if _is_sentence(model.modules) else _tower_of_whole_model(model, name)


def _family(config: Mapping[str, Any]) -> str | None:
    model: SavedModel = config["model"]
    return transformers.FORMAT.family(model.modules[0].config)


def _sentence_tower(model: SavedModel, name: str) -> TextSpec:
    if model.processing_kwargs:
        raise CheckpointError(f"{name}: sentence_bert_config.json has processing_kwargs, which are not supported")
    length = model.model_max_length if model.max_seq_length is None else model.max_seq_length
    return text_spec(model.modules, length=length, lower_case=model.do_lower_case, name=name)


def _tower_of_whole_model(model: SavedModel, name: str) -> TextSpec:
    spec = transformers.FORMAT.text(_whole_model(model.modules, name).config, name)
    if model.max_seq_length is not None:
        spec = replace(spec, max_length=min(spec.max_length, model.max_seq_length))
    return normalized_text(spec) if len(model.modules) > 1 else spec


def _first_of(files: Files) -> FolderOf:
    return FolderOf(files=files, folder=read_modules(files)[0].folder)


def _preprocessor_config(files: Files) -> dict[str, Any]:
    first = _image_model(read_modules(files), files.name)
    return transformers.FORMAT.preprocessor_config(FolderOf(files=files, folder=first.folder))


def _tokenizer_files(files: Files) -> list[str]:
    first = _first_of(files)
    return [first.inside(name) for name in transformers.FORMAT.tokenizer_files(first)]


def _other_configs(files: Files) -> list[str]:
    """Return the names of the modules' config files, sorted."""
    views = [FolderOf(files=files, folder=module.folder) for module in read_modules(files)]
    return sorted({view.inside("config.json") for view in views if "config.json" in view.listing})


def _weight_files(files: Files) -> list[str]:
    """Return the names of the safetensors files of all modules, sorted.

    Raises:
        CheckpointError: A module that has weights has none that can be read.
    """
    first = _first_of(files)
    _refuse_pickles(first)
    dense = [view.inside(_WEIGHTS) for view in _dense_layers(files)]
    return sorted([*map(first.inside, transformers.FORMAT.weight_files(first)), *dense])


def _tensors(files: Files) -> Mapping[str, str]:
    """Return which file holds each tensor; the names of tensors start with the module's folder, but for the first.

    Raises:
        CheckpointError: A module that has weights has none that can be read, or a file is damaged.
    """
    first = _first_of(files)
    _refuse_pickles(first)
    tensors = {tensor: first.inside(name) for tensor, name in transformers.FORMAT.tensors(first).items()}
    for view in _dense_layers(files):
        names = tensor_names(view, _WEIGHTS)
        tensors |= {view.inside(tensor): view.inside(_WEIGHTS) for tensor in names}
    return tensors


def _dense_layers(files: Files) -> list[FolderOf]:
    """Return the folders of the modules after the first that have weights.

    Raises:
        CheckpointError: The weights of a module are a pickle.
    """
    layers = [module for module in read_modules(files) if module.kind == "Dense"]
    views = [FolderOf(files=files, folder=module.folder) for module in layers]
    for view in views:
        _refuse_pickles(view)
    return views


def _refuse_pickles(view: FolderOf) -> None:
    """Refuse a module whose weights are a pickle; missing weights are reported when they are read.

    Raises:
        CheckpointError: The weights are a pickle.
    """
    if not has_safetensors(view.listing) and _PICKLE in view.listing:
        name = view.files.name
        raise CheckpointError(
            f"{name}: the weights in {view.inside(_PICKLE)} are a pickle, and loading one can run any code; convert "
            f"all with sentence-transformers, SentenceTransformer({name!r}).save(folder), and take that folder"
        )


def _is_whole(files: Files) -> bool:
    """Tell whether `modules.json` lists modules, of which the first has safetensors."""
    listed = parse_json(files, MODULES)
    if not is_list_of_modules(listed):
        return False
    return has_safetensors(FolderOf(files=files, folder=listed[0]["path"]).listing)


FORMAT = Format(
    name="sentence-transformers",
    config_file=MODULES,
    rank=0,
    is_whole=_is_whole,
    read=_read,
    other_configs=_other_configs,
    family=_family,
    vision=_vision,
    text=_text,
    preprocessor_config=_preprocessor_config,
    tokenizer_files=_tokenizer_files,
    weight_files=_weight_files,
    tensors=_tensors,
)
