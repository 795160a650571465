"""Access to the files of a checkpoint: the interface, local folders, and what is read from files of any place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import CheckpointError

__all__ = [
    "BUNDLED",
    "DEQUANTIZE",
    "TOKENIZER_FILES",
    "VOCABULARIES",
    "Files",
    "Folder",
    "has_safetensors",
    "names_in",
    "parse_json",
    "pickles",
    "read_json",
]

BUNDLED = "tiny-shapes"
"""Name of the checkpoint that comes with the package."""

DEQUANTIZE = "use the checkpoint that it was made from, in float32, float16 or bfloat16"
"""Advice on quantized weights, for error messages."""

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
"""Names of the files that may belong to a tokenizer in transformers' format."""

VOCABULARIES = frozenset({"spiece.model", "tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"})
"""Names of files with a vocabulary, of which every tokenizer has at least one."""

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
    """The files of one checkpoint, wherever they are: in a folder, or on the hub."""

    @property
    def name(self) -> str:
        """Name of the checkpoint for error messages."""
        ...

    @property
    def listing(self) -> frozenset[str]:
        """Names of all files; those in a folder of the checkpoint as "folder/name"."""
        ...

    @property
    def never_change(self) -> bool:
        """Whether the files of this name and commit are the same at any time and on every machine."""
        ...

    def path(self, filename: str) -> Path:
        """Return the path of a file on this machine, which is downloaded if necessary.

        Args:
            filename: Name of the file, as in `listing`.

        Raises:
            CheckpointError: The file is missing, or can't be downloaded.
        """
        ...

    def size(self, filename: str) -> int | None:
        """Return the size of a file in bytes, or None if it is not on this machine yet.

        Args:
            filename: Name of the file, as in `listing`.

        Raises:
            CheckpointError: The file is missing, and can't be downloaded.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A checkpoint in a local folder."""

    root: Path

    @property
    def name(self) -> str:
        """Path of the folder."""
        return str(self.root)

    @property
    def listing(self) -> frozenset[str]:
        """Names of the files in the folder, and of those in its subfolders as "folder/name"."""
        return names_in(self.root)

    @property
    def never_change(self) -> bool:
        """False, since the files of a folder may be replaced at any time."""
        return False

    def path(self, filename: str) -> Path:
        """Return the path of a file in the folder.

        Raises:
            CheckpointError: The file is missing.
        """
        path = self.root / filename
        if not path.is_file():
            raise CheckpointError(f"{self.name}: {filename} is missing")
        return path

    def size(self, filename: str) -> int:
        """Return the size of a file in bytes.

        Raises:
            CheckpointError: The file is missing.
        """
        return self.path(filename).stat().st_size


def names_in(folder: Path) -> frozenset[str]:
    """Return the names of the files in a folder, and of those in its subfolders as "folder/name".

    Raises:
        OSError: The folder can't be read.
    """
    entries = list(folder.iterdir())
    below = [entry for part in entries if part.is_dir() for entry in part.iterdir()]
    return frozenset(entry.relative_to(folder).as_posix() for entry in (*entries, *below) if entry.is_file())


def has_safetensors(listing: frozenset[str]) -> bool:
    """Tell whether weights in safetensors format are among the files."""
    return any(PurePosixPath(name).name in _WEIGHTS for name in listing)


def pickles(listing: frozenset[str]) -> str | None:
    """Return the name of a file that may hold weights as a pickle, the first in alphabetical order, or None."""
    return min((name for name in listing if name.endswith(_PICKLE_ENDINGS)), default=None)


def read_json(files: Files, filename: str) -> dict[str, Any]:
    """Return a checkpoint's JSON file, parsed.

    Raises:
        CheckpointError: The file is missing, can't be downloaded, or is not a JSON object.
    """
    content = parse_json(files, filename)
    if not isinstance(content, dict):
        raise CheckpointError(f"{files.name}: {filename} is not a JSON object")
    return content


def parse_json(files: Files, filename: str) -> object:
    """Return the content of a checkpoint's JSON file.

    Raises:
        CheckpointError: The file is missing, can't be downloaded, or is not JSON.
    """
    path = files.path(filename)
    try:
        content: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{files.name}: {filename} can't be read: {first_line(error)}") from error
    return content
