"""The files of a checkpoint: a folder's, and what can be asked of any."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import CheckpointError

__all__ = [
    "BUNDLED",
    "DEQUANTISE",
    "TOKENIZER_FILES",
    "VOCABULARIES",
    "Files",
    "Folder",
    "has_safetensors",
    "names_in",
    "parse_json",
    "pickles",
    "read_json",
    "tensor_names",
]

BUNDLED = "tiny-shapes"
"""The name of the checkpoint that comes with the package."""

DEQUANTISE = "use the checkpoint that it was made from, in float32, float16 or bfloat16"
"""What to do about quantised weights, for messages."""

TOKENIZER_FILES = (
    "added_tokens.json",
    "config.json",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Names of what may be a part of a tokenizer, in transformers' format."""

VOCABULARIES = frozenset({"spiece.model", "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"})
"""Those of which a tokenizer has at least one."""

_PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_WEIGHTS = frozenset(
    {
        "model.safetensors",
        "model.safetensors.index.json",
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",  # what the hub's conversion makes of open_clip's pickle
    }
)


class Files(Protocol):
    """The files of one checkpoint."""

    @property
    def name(self) -> str:
        """The checkpoint as messages call it."""
        ...

    @property
    def listing(self) -> frozenset[str]:
        """Names of all its files; those in folders below it as "folder/name"."""
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

    def size(self, filename: str) -> int | None:
        """Return the number of bytes of `filename`, or None where it is not on this machine yet.

        Raises:
            CheckpointError: it is missing, and can't be had.
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
        """Names of the files in the folder, and in those directly below it."""
        return names_in(self.root)

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

    def size(self, filename: str) -> int:
        """Return the number of bytes of `filename`."""
        return self.path(filename).stat().st_size


def names_in(folder: Path) -> frozenset[str]:
    """Return the names of the files in a folder, and of those directly below it as "folder/name".

    Raises:
        OSError: The folder can't be read.
    """
    entries = list(folder.iterdir())
    below = [entry for part in entries if part.is_dir() for entry in part.iterdir()]
    return frozenset(entry.relative_to(folder).as_posix() for entry in (*entries, *below) if entry.is_file())


def has_safetensors(listing: frozenset[str]) -> bool:
    """Tell whether weights in safetensors format are among the files."""
    return any(PurePosixPath(name).name in _WEIGHTS for name in listing)


def tensor_names(files: Files, filename: str) -> list[str]:
    """Return the names of the tensors in a safetensors file; its tensors are not read.

    Raises:
        CheckpointError: The file is missing, damaged, or has changed.
    """
    # Here, since graphs that were exported are run without safetensors.
    from clip_image_encoder.checkpoint._safetensors import open_safetensors

    with open_safetensors(files, filename, "np") as reader:
        return list(reader.keys())


def pickles(listing: frozenset[str]) -> str | None:
    """Return the name of a file that may hold weights as a pickle, the first by name, or None."""
    return min((name for name in listing if name.endswith(_PICKLE_ENDINGS)), default=None)


def read_json(files: Files, filename: str) -> dict[str, Any]:
    """Return a checkpoint's JSON file, parsed.

    Raises:
        CheckpointError: it is missing, can't be had, or is no JSON object.
    """
    content = parse_json(files, filename)
    if not isinstance(content, dict):
        raise CheckpointError(f"{files.name}: {filename} is not a JSON object")
    return content


def parse_json(files: Files, filename: str) -> object:
    """Return what a checkpoint's JSON file holds.

    Raises:
        CheckpointError: It is missing, can't be had, or is no JSON.
    """
    path = files.path(filename)
    try:
        content: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{files.name}: {filename} can't be read: {first_line(error)}") from error
    return content
