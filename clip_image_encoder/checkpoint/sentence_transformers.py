"""sentence-transformers' format: `modules.json` lists the modules of a model, each with a folder of its own.

Two kinds of lists are read: a model of both towers in transformers' format, and a text tower of a Transformer, a
Pooling and what is behind it. In both the first module's folder looks like a checkpoint in transformers' format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from clip_image_encoder.checkpoint import transformers
from clip_image_encoder.checkpoint._files import Files, has_safetensors, parse_json, read_json
from clip_image_encoder.checkpoint._format import Format
from clip_image_encoder.checkpoint._safetensors import tensor_names
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models import TextSpec, VisionSpec
from clip_image_encoder.models._sentence import ENCODERS, Module, normalized_text, normalized_vision, text_spec

__all__ = ["FORMAT"]

_MODULES = "modules.json"
_WEIGHTS = "model.safetensors"
_PICKLE = "pytorch_model.bin"
_OWN = "sentence_transformers."
_FIRST = ("CLIPModel", "Transformer")
_BEHIND = ("Dense", "Normalize")


@dataclass(frozen=True, kw_only=True)
class _FolderOf:
    """The files of one module, looked at as a checkpoint of its own.

    Attributes:
        files: Those of the whole checkpoint.
        folder: Name of the module's folder; "" for that of the checkpoint.
    """

    files: Files
    folder: str

    @property
    def name(self) -> str:
        return _place(self.files.name, self.folder)

    @property
    def listing(self) -> frozenset[str]:
        start = self.inside("")
        names = (name.removeprefix(start) for name in self.files.listing if name.startswith(start))
        return frozenset(name for name in names if "/" not in name)

    @property
    def never_change(self) -> bool:
        return self.files.never_change

    def path(self, filename: str) -> Path:
        return self.files.path(self.inside(filename))

    def inside(self, filename: str) -> str:
        """Return what the whole checkpoint calls a file of the folder."""
        return f"{self.folder}/{filename}" if self.folder else filename


def _place(name: str, folder: str) -> str:
    return f"{name}/{folder}" if folder else name


def _read(files: Files, filename: str) -> dict[str, Any]:
    """Return the modules with what their files say, and what is done to texts.

    Raises:
        CheckpointError: A file is missing, can't be read, or lists no modules.
    """
    modules = _modules(files, filename)
    first = _FolderOf(files=files, folder=modules[0].folder)
    settings = _settings(first)
    tokenizer = _optional_json(first, "tokenizer_config.json")
    return {
        "modules": modules,
        "max_seq_length": _length(settings, "max_seq_length", first.name),
        "model_max_length": _length(tokenizer, "model_max_length", first.name),
        "do_lower_case": bool(settings.get("do_lower_case")),
        "processing_kwargs": settings.get("processing_kwargs"),
        "prompt": _default_prompt(files),
    }


def _modules(files: Files, filename: str) -> tuple[Module, ...]:
    listed = parse_json(files, filename)
    if not _is_list_of_modules(listed):
        raise CheckpointError(f"{files.name}: {filename} is not a list of modules, each with a type and a path")
    return tuple(_module(files, entry["type"], entry["path"]) for entry in listed)


def _is_list_of_modules(listed: object) -> TypeGuard[list[dict[str, str]]]:
    return isinstance(listed, list) and bool(listed) and all(map(_is_module, listed))


def _is_module(entry: object) -> bool:
    """Tell whether an entry names a class and a folder directly below that of the checkpoint."""
    if not isinstance(entry, dict):
        return False
    kind, folder = entry.get("type"), entry.get("path")
    if not isinstance(kind, str) or not isinstance(folder, str):
        return False
    return folder not in (".", "..") and not set(folder) & set("/\\:")


def _module(files: Files, kind: str, folder: str) -> Module:
    # The package has moved its classes between its modules; their names stayed.
    name = kind.rpartition(".")[2] if kind.startswith(_OWN) else kind
    view = _FolderOf(files=files, folder=folder)
    if name in (*_FIRST, "Pooling", "Dense"):
        config = read_json(view, "config.json")
    else:
        config = _optional_json(view, "config.json") if name == "Normalize" else {}
    return Module(kind=name, folder=folder, config=config)


def _settings(first: _FolderOf) -> dict[str, Any]:
    """Return what the file beside a Transformer says, which had other names than sentence_bert_config.json before."""
    names = (name for name in sorted(first.listing) if name.startswith("sentence_") and name.endswith("_config.json"))
    return _optional_json(first, next(names, "sentence_bert_config.json"))


def _length(settings: Mapping[str, Any], key: str, name: str) -> int | None:
    length = settings.get(key)
    if length is not None and (not isinstance(length, int) or length < 1):
        raise CheckpointError(f"{name}: {key} must be a number of tokens, not {length!r}")
    return length


def _optional_json(files: Files, filename: str) -> dict[str, Any]:
    return read_json(files, filename) if filename in files.listing else {}


def _default_prompt(files: Files) -> str:
    """Return what sentence-transformers puts before each text."""
    config = _optional_json(files, "config_sentence_transformers.json")
    prompts, name = config.get("prompts"), config.get("default_prompt_name")
    return str(prompts.get(name) or "") if isinstance(prompts, dict) and isinstance(name, str) else ""


def _is_sentence(modules: Sequence[Module]) -> bool:
    """Tell whether modules are a text tower: a Transformer, a Pooling, and what may be behind it."""
    kinds = [module.kind for module in modules]
    return kinds[:2] == ["Transformer", "Pooling"] and set(kinds[2:]) <= set(_BEHIND)


def _whole_model(modules: Sequence[Module], name: str) -> Module:
    """Return the module that is a model in transformers' format, by itself or with nothing but a Normalize behind it.

    Raises:
        CheckpointError: The modules are others.
    """
    first, *others = modules
    odd = next((module for module in others if module.kind != "Normalize"), None)
    odd = first if first.kind not in _FIRST else odd
    if odd is None:
        return first
    if "." in odd.kind:
        raise CheckpointError(f"{name}: the module {odd.kind} needs code of its own, which is never executed")
    raise CheckpointError(
        f"{name}: {_MODULES} has {odd.kind} among {', '.join(module.kind for module in modules)}; supported are "
        "CLIPModel, and for texts a Transformer and a Pooling, with Dense and Normalize behind them"
    )


def _image_model(modules: Sequence[Module], name: str) -> Module:
    """Return the module that has a vision tower.

    Raises:
        CheckpointError: The modules are a text tower, or others.
    """
    if _is_sentence(modules) and modules[0].config.get("model_type") in ENCODERS:
        raise CheckpointError(
            f"{name}: a text tower only; there is no vision tower to load. Its texts are compared with the images of "
            "the checkpoint that it was trained beside: clip-ViT-B-32-multilingual-v1 with those of clip-ViT-B-32"
        )
    return _whole_model(modules, name)


def _vision(config: Mapping[str, Any], name: str) -> VisionSpec:
    modules = config["modules"]
    first = _image_model(modules, name)
    spec = transformers.FORMAT.vision(first.config, _place(name, first.folder))
    return normalized_vision(spec) if len(modules) > 1 else spec


def _text(config: Mapping[str, Any], name: str) -> TextSpec:
    modules = config["modules"]
    if config["prompt"]:
        raise CheckpointError(
            f"{name}: config_sentence_transformers.json has a default prompt, {config['prompt']!r}, which is not "
            "supported; take default_prompt_name out of it, and put the prompt before your texts"
        )
    stated = config["max_seq_length"]
    if _is_sentence(modules):
        if config["processing_kwargs"]:
            raise CheckpointError(f"{name}: sentence_bert_config.json has processing_kwargs, which are not supported")
        length = config["model_max_length"] if stated is None else stated
        return text_spec(modules, length=length, lower_case=config["do_lower_case"], name=name)
    first = _whole_model(modules, name)
    spec = transformers.FORMAT.text(first.config, _place(name, first.folder))
    spec = spec if stated is None else replace(spec, max_length=min(spec.max_length, stated))
    return normalized_text(spec) if len(modules) > 1 else spec


def _first_of(files: Files) -> _FolderOf:
    return _FolderOf(files=files, folder=_modules(files, _MODULES)[0].folder)


def _preprocessor_config(files: Files) -> dict[str, Any]:
    first = _image_model(_modules(files, _MODULES), files.name)
    return transformers.FORMAT.preprocessor_config(_FolderOf(files=files, folder=first.folder))


def _tokenizer_files(files: Files) -> list[str]:
    first = _first_of(files)
    return [first.inside(name) for name in transformers.FORMAT.tokenizer_files(first)]


def _other_configs(files: Files) -> list[str]:
    """Return the names of the modules' config files, sorted."""
    views = [_FolderOf(files=files, folder=module.folder) for module in _modules(files, _MODULES)]
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
    """Return which file holds each tensor; the names of all but the first module's start with their folder.

    Raises:
        CheckpointError: As `_weight_files`; or a file is damaged.
    """
    first = _first_of(files)
    _refuse_pickles(first)
    tensors = {tensor: first.inside(name) for tensor, name in transformers.FORMAT.tensors(first).items()}
    for view in _dense_layers(files):
        names = tensor_names(view, _WEIGHTS)
        tensors |= {view.inside(tensor): view.inside(_WEIGHTS) for tensor in names}
    return tensors


def _dense_layers(files: Files) -> list[_FolderOf]:
    """Return the folders of the modules behind the first that have weights.

    Raises:
        CheckpointError: One has none that can be read.
    """
    layers = [module for module in _modules(files, _MODULES) if module.kind == "Dense"]
    views = [_FolderOf(files=files, folder=module.folder) for module in layers]
    for view in views:
        _refuse_pickles(view)
    return views


def _refuse_pickles(view: _FolderOf) -> None:
    """Refuse a module whose weights are a pickle; other weights that are missing are named when they are read.

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
    """Tell whether modules.json lists modules, of which the first has safetensors."""
    listed = parse_json(files, _MODULES)
    if not _is_list_of_modules(listed):
        return False
    return has_safetensors(_FolderOf(files=files, folder=listed[0]["path"]).listing)


FORMAT = Format(
    config_file=_MODULES,
    rank=0,
    is_whole=_is_whole,
    read=_read,
    other_configs=_other_configs,
    vision=_vision,
    text=_text,
    preprocessor_config=_preprocessor_config,
    tokenizer_files=_tokenizer_files,
    weight_files=_weight_files,
    tensors=_tensors,
)
