"""The files of a checkpoint: a folder's, and what can be asked of any."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from clip_image_encoder.errors import CheckpointError

__all__ = [
    "BUNDLED",
    "DEQUANTISE",
    "Files",
    "Folder",
    "first_line",
    "has_safetensors",
    "read_json",
    "weight_filenames",
    "weight_map",
]

BUNDLED = "tiny-shapes"
"""The name of the checkpoint that comes with the package."""

DEQUANTISE = "use the checkpoint that it was made from, in float32, float16 or bfloat16"
"""What to do about quantised weights, for messages."""

_ADAPTERS = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "adapter_model.bin",
    "pytorch_lora_weights.safetensors",
)
_PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class Files(Protocol):
    """The files of one checkpoint."""

    @property
    def name(self) -> str:
        """The checkpoint as messages call it."""
        ...

    @property
    def listing(self) -> frozenset[str]:
        """Names of all its files."""
        ...

    @property
    def never_change(self) -> bool:
        """Whether its name and commit say all that is in the files, on every machine."""
        ...

    def path(self, filename: str) -> Path:
        """Return where `filename` lies on this machine, downloading it if need be.

        Raises:
            CheckpointError: it is missing or can't be had.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A checkpoint in a local folder."""

    root: Path

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.root)

    @property
    def listing(self) -> frozenset[str]:
        """Names of the files directly in the folder."""
        return frozenset(entry.name for entry in self.root.iterdir() if entry.is_file())

    @property
    def never_change(self) -> bool:
        """A folder's files may be replaced at any time."""
        return False

    def path(self, filename: str) -> Path:
        """Return the path of `filename` in the folder."""
        path = self.root / filename
        if not path.is_file():
            raise CheckpointError(f"{self.name}: {filename} is missing")
        return path


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def has_safetensors(listing: frozenset[str]) -> bool:
    """Tell whether weights in safetensors format are among the files."""
    return "model.safetensors" in listing or "model.safetensors.index.json" in listing


def weight_filenames(files: Files) -> list[str]:
    """Return the names of a checkpoint's safetensors files, sorted.

    Raises:
        CheckpointError: there are none, or an adapter that changes them; pickles don't count, since loading
            one runs its code.
    """
    adapter = next((name for name in _ADAPTERS if name in files.listing), None)
    if adapter:
        raise CheckpointError(
            f"{files.name}: {adapter} is an adapter, which is not applied; merge it into its base with peft's "
            "merge_and_unload() and save_pretrained(), or move it to another folder to do without it"
        )
    if "model.safetensors" in files.listing:
        return ["model.safetensors"]
    if has_safetensors(files.listing):
        return sorted(set(weight_map(files).values()))
    pickles = sorted(name for name in files.listing if name.endswith(_PICKLE_ENDINGS))
    if pickles:
        raise CheckpointError(
            f"{files.name}: the weights are a pickle only ({pickles[0]}), and loading one can run any code; "
            "convert them with model.save_pretrained(folder, safe_serialization=True)"
        )
    raise CheckpointError(f"{files.name}: no weights; model.safetensors is missing")


def weight_map(files: Files) -> dict[str, str]:
    """Return which of a checkpoint's shards holds each tensor: {tensor: filename}.

    Raises:
        CheckpointError: the index of the shards is missing, or no index.
    """
    index = read_json(files, "model.safetensors.index.json")
    shards = index.get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(f"{files.name}: model.safetensors.index.json has no weight_map of names to files")
    return shards


def read_json(files: Files, filename: str) -> dict[str, Any]:
    """Return a checkpoint's JSON file, parsed.

    Raises:
        CheckpointError: it is missing, can't be had, or is no JSON object.
    """
    path = files.path(filename)
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{files.name}: {filename} can't be read: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{files.name}: {filename} is not a JSON object")
    return content
