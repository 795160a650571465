"""Reads `modules.json`, sentence-transformers' list of a model's modules, and each module's files in a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from clip_image_encoder.checkpoint._files import Files, parse_json, read_json
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models._sentences.towers import Module

__all__ = ["MODULES", "FolderOf", "SavedModel", "is_list_of_modules", "read_model", "read_modules"]

MODULES = "modules.json"
_OWN = "sentence_transformers."


@dataclass(frozen=True, kw_only=True)
class FolderOf:
    """The files of one module, in the same form as those of a checkpoint.

    Attributes:
        files: Files of the whole checkpoint.
        folder: Name of the module's folder; "" for the checkpoint's own folder.
    """

    files: Files
    folder: str

    @property
    def name(self) -> str:
        """Name of the checkpoint and the folder for error messages."""
        return f"{self.files.name}/{self.folder}" if self.folder else self.files.name

    @property
    def listing(self) -> frozenset[str]:
        """Names of the files in the folder."""
        start = self.inside("")
        names = (name.removeprefix(start) for name in self.files.listing if name.startswith(start))
        return frozenset(name for name in names if "/" not in name)

    @property
    def never_change(self) -> bool:
        """Whether the files of this name and commit are the same at any time and on every machine."""
        return self.files.never_change

    def path(self, filename: str) -> Path:
        """Return the path of a file of the folder, which is downloaded if necessary."""
        return self.files.path(self.inside(filename))

    def size(self, filename: str) -> int | None:
        """Return the size in bytes of a file of the folder, or None if it is not on this machine yet."""
        return self.files.size(self.inside(filename))

    def inside(self, filename: str) -> str:
        """Return the name that a file of the folder has in the whole checkpoint."""
        return f"{self.folder}/{filename}" if self.folder else filename


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """What the files of sentence-transformers say of a model.

    Attributes:
        modules: Modules in the order in which an input passes them.
        max_seq_length: Number of tokens at which texts are cut, by the first module's settings; None if they don't say.
        model_max_length: Number of tokens at which texts are cut, by the tokenizer's files, which counts if
            `max_seq_length` is None; None if they don't say.
        do_lower_case: Whether texts are lower-cased before the tokenizer does what its files say.
        processing_kwargs: Value of the setting of this name, about how inputs are prepared; None if there is none.
        prompt: Text that is put before each text; "" if there is none.
    """

    modules: tuple[Module, ...]
    max_seq_length: int | None
    model_max_length: int | None
    do_lower_case: bool
    processing_kwargs: object
    prompt: str


def read_model(files: Files) -> SavedModel:
    """Return what `modules.json`, the modules' files and the tokenizer's files say.

    Raises:
        CheckpointError: A file is missing, can't be read, or lists no modules.
    """
    modules = read_modules(files)
    first = FolderOf(files=files, folder=modules[0].folder)
    settings = _settings(first)
    tokenizer = _optional_json(first, "tokenizer_config.json")
    return SavedModel(
        modules=modules,
        max_seq_length=_length(settings, "max_seq_length", first.name),
        model_max_length=_length(tokenizer, "model_max_length", first.name),
        do_lower_case=bool(settings.get("do_lower_case")),
        processing_kwargs=settings.get("processing_kwargs"),
        prompt=_default_prompt(files),
    )


def read_modules(files: Files) -> tuple[Module, ...]:
    """Return the modules that `modules.json` lists, each with its config.

    Raises:
        CheckpointError: A file is missing, can't be read, or lists no modules.
    """
    listed = parse_json(files, MODULES)
    if not is_list_of_modules(listed):
        raise CheckpointError(f"{files.name}: {MODULES} is not a list of modules, each with a type and a path")
    return tuple(_module(files, entry["type"], entry["path"]) for entry in listed)


def is_list_of_modules(listed: object) -> TypeGuard[list[dict[str, str]]]:
    """Tell whether a parsed `modules.json` lists modules."""
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
    # sentence-transformers has moved its classes between its Python modules; their names stayed the same.
    name = kind.rpartition(".")[2] if kind.startswith(_OWN) else kind
    view = FolderOf(files=files, folder=folder)
    if name in ("CLIPModel", "Transformer", "Pooling", "Dense"):
        config = read_json(view, "config.json")
    else:
        config = _optional_json(view, "config.json") if name == "Normalize" else {}
    return Module(kind=name, folder=folder, config=config)


def _settings(first: FolderOf) -> dict[str, Any]:
    """Return the settings of a Transformer: its sentence_bert_config.json, which older versions named otherwise."""
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
    """Return the text that sentence-transformers puts before each text by default; "" for none."""
    config = _optional_json(files, "config_sentence_transformers.json")
    prompts, name = config.get("prompts"), config.get("default_prompt_name")
    return str(prompts.get(name) or "") if isinstance(prompts, dict) and isinstance(name, str) else ""
