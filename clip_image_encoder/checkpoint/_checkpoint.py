"""Finds the checkpoint that a model's name means, with its files, its config and the fingerprint of its weights."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from clip_image_encoder.checkpoint._files import BUNDLED, VOCABULARIES, Files, Folder
from clip_image_encoder.checkpoint._format import Format, config_files, find_format, format_of_name, format_with
from clip_image_encoder.checkpoint._hub import find_snapshot, is_repository_id
from clip_image_encoder.checkpoint._pinned import PinnedFiles
from clip_image_encoder.checkpoint._safetensors import open_safetensors
from clip_image_encoder.errors import CheckpointError, ConfigurationError
from clip_image_encoder.models import TextSpec, VisionSpec, Weights

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoint", "open_checkpoint"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint of any format: a model's config, weights and other files in one folder or one commit of the hub.

    Large files are downloaded when they are needed. A file that has changed since it was first read raises an error
    when it is read again. A checkpoint pickles as its name and commit, and another process or machine reads the files
    by itself. If the fingerprint was computed before, it is in the pickle, and other weights are refused there; for
    this the weights of a folder are read once more.

    Attributes:
        files: Files of the checkpoint.
        format: Format of the checkpoint, which knows how to read the files.
        config: Description of the model, such as the parsed `config.json`.
    """

    files: PinnedFiles
    format: Format = field(repr=False)
    config: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """Name of the checkpoint for error messages: its hub id, or the path of its folder."""
        return self.files.name

    @cached_property
    def vision(self) -> VisionSpec:
        """The vision tower, as the config describes it.

        Raises:
            CheckpointError: The checkpoint has no vision tower, or its architecture is not supported.
        """
        return self.format.vision(self.config, self.name)

    @cached_property
    def text(self) -> TextSpec:
        """The text tower, as the config describes it.

        Raises:
            CheckpointError: The checkpoint has no text tower, or its architecture is not supported.
        """
        return self.format.text(self.config, self.name)

    @property
    def preprocessor_config(self) -> dict[str, Any]:
        """Settings by which images are prepared, in the words of transformers' image processors.

        Raises:
            CheckpointError: The checkpoint doesn't say how images are prepared.
        """
        return self.format.preprocessor_config(self.files)

    @property
    def runtime(self) -> str | None:
        """Name of the only backend that runs the checkpoint, such as of an exported folder; None if any backend may."""
        return self.format.runtime(self.config)

    def weights(self, dtype: torch.dtype) -> Weights:
        """Return the tensors of the checkpoint, from which towers are filled.

        Args:
            dtype: Dtype that the weights get in memory; the files may have another.

        Raises:
            CheckpointError: The checkpoint has no weights that can be read, or a file is damaged.
        """
        from clip_image_encoder.checkpoint._weights import SafetensorsWeights

        return SafetensorsWeights(self.files, self.format.tensors(self.files), dtype)

    def number(self, name: str) -> float | None:
        """Return the value of a tensor that holds a single number, or None if the checkpoint has no such tensor.

        Args:
            name: Name of the tensor, such as "logit_scale".

        Raises:
            CheckpointError: The checkpoint has no weights that can be read, or a file is damaged.
        """
        if self.format.numbers is not None:
            return self.format.numbers(self.config).get(name)
        filename = self.format.tensors(self.files).get(name)
        if filename is None:
            return None
        # Read as a tensor of torch, since numpy has no bfloat16.
        with open_safetensors(self.files, filename, "pt") as reader:
            return float(reader.get_tensor(name))

    def tokenizer_files(self) -> list[str]:
        """Return the names of the tokenizer's files; nothing is downloaded.

        Raises:
            CheckpointError: The checkpoint has no tokenizer.
        """
        names = self.format.tokenizer_files(self.files)
        if VOCABULARIES.isdisjoint(PurePosixPath(name).name for name in names):
            raise CheckpointError(f"{self.name}: the tokenizer's files are missing (tokenizer.json)")
        return names

    def tokenizer_folder(self) -> Path:
        """Return the path of a folder with the tokenizer's files, which are downloaded if necessary.

        Raises:
            CheckpointError: The checkpoint has no tokenizer, or its files can't be downloaded.
        """
        paths = [self.files.path(name) for name in self.tokenizer_files()]
        return paths[0].parent

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the config and the weights, in hexadecimal, whatever the checkpoint's name and place."""
        return _digest(self.files, self._towers_files())

    @property
    def space(self) -> str:
        """Fingerprint of the weights whose vectors can be compared: of an exported folder, those that it was made from.

        Raises:
            CheckpointError: The files have changed since they were first read.
        """
        return self.format.source(self.config) or self.fingerprint

    @property
    def stamp(self) -> str:
        """String that changes when the config or the weights change on this machine, without reading the weights."""
        return ", ".join(map(self.files.stamp, self._towers_files()))

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """SHA-256 of the tokenizer's files, in hexadecimal, whatever the checkpoint's name and place."""
        return _digest(self.files, self.format.tokenizer_files(self.files))

    def _towers_files(self) -> list[str]:
        configs = [self.format.config_file, *self.format.other_configs(self.files)]
        return [*configs, *self.format.weight_files(self.files)]

    def __reduce__(self) -> tuple[Callable[..., Checkpoint], tuple[Files, str, dict[str, str]]]:
        known = {name: self.__dict__[name] for name in _FINGERPRINTS if name in self.__dict__}
        return _restore, (self.files.files, self.format.config_file, known)


_FINGERPRINTS = ("fingerprint", "tokenizer_fingerprint")


def _open(files: Files, wanted: Format | None) -> Checkpoint:
    pinned = PinnedFiles(files=files, listing=files.listing)
    format = wanted or find_format(pinned)  # noqa: A001 - the field's name
    if format is None:
        *some, last = sorted(config_files())
        raise CheckpointError(f"{files.name}: is not a checkpoint; it has none of {', '.join(some)} and {last}")
    return Checkpoint(files=pinned, format=format, config=format.read(pinned, format.config_file))


def _restore(files: Files, config_file: str, known: Mapping[str, str]) -> Checkpoint:
    """Open a pickled checkpoint in another process or on another machine, and check that it is the same.

    Args:
        files: Files of the checkpoint.
        config_file: Name of the file that describes the model, which tells the format.
        known: Fingerprints that had been computed when it was pickled, by the names of their properties.

    Raises:
        CheckpointError: The files can't be read, or have another fingerprint.
    """
    checkpoint = _open(files, format_with(config_file))
    if checkpoint.files.never_change:
        checkpoint.__dict__.update(known)
    for name, expected in known.items():
        if getattr(checkpoint, name) != expected:
            raise CheckpointError(f"{files.name}: the files are not those that were pickled; make a new encoder")
    return checkpoint


def _digest(files: Files, names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        with files.path(name).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        files.path(name)
    return digest.hexdigest()


def open_checkpoint(
    model: str | os.PathLike[str],
    *,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Checkpoint:
    """Find a checkpoint on the hub or in a folder, and read its config.

    The arguments have the meaning that they have in transformers' `from_pretrained`. The cache and the environment
    variables (HF_HOME, HF_HUB_OFFLINE, HF_TOKEN) are the same, too.

    Args:
        model: Hub id, path of a folder, or "tiny-shapes", which is bundled. With the prefix "hf-hub:" or "local-dir:"
            the checkpoint is read in open_clip's format, even if there are files of other formats beside it.
        revision: Branch, tag or commit on the hub; None, the default, is the newest commit.
        token: Token for private and gated repositories of the hub; True requires the stored one, False uses none, and
            None, the default, is the stored one if there is one.
        cache_dir: Folder where downloaded files are kept; None, the default, is the hub's own cache.
        local_files_only: Whether only files on this machine are used, without the network; False by default.

    Raises:
        ConfigurationError: The value of `model` is neither a name nor a path.
        CheckpointError: The checkpoint doesn't exist, can't be reached, or has no config that can be read.
    """
    wanted, name = format_of_name(model) if isinstance(model, str) else (None, model)
    files: Files | None = _find_folder(name, revision)
    if files is None:
        files = find_snapshot(
            os.fspath(name),
            config_files=[wanted.config_file] if wanted else config_files(),
            revision=revision,
            token=token,
            cache_dir=None if cache_dir is None else os.fspath(cache_dir),
            local_files_only=local_files_only,
        )
    return _open(files, wanted)


def _find_folder(model: str | os.PathLike[str], revision: str | None) -> Folder | None:
    """Return the folder that a model's name means, or None if it means a repository on the hub.

    Raises:
        ConfigurationError: The value is neither a name nor a path.
        CheckpointError: The name means neither, or its folder can't be used.
    """
    given: object = model
    if not isinstance(given, (str, os.PathLike)) or not os.fspath(given):
        raise ConfigurationError(f"model must be a hub id, a folder or {BUNDLED!r}, not {model!r}")
    folder = Path(__file__).parents[1] / "tiny_shapes" / "checkpoint" if model == BUNDLED else Path(model)
    if folder.is_dir():
        if revision is not None:
            raise CheckpointError(f"{model} is a folder and has no revisions; leave out revision={revision!r}")
        return Folder(root=folder.absolute())
    if folder.exists():
        raise CheckpointError(f"{model} is a file; pass the folder that holds config.json and model.safetensors")
    if model == BUNDLED:
        raise CheckpointError(
            f"{BUNDLED!r} can't be read out of an archive ({folder}); install the package with pip, or unpack it"
        )
    if isinstance(model, os.PathLike) or not is_repository_id(model):
        raise CheckpointError(f"{os.fspath(model)}: no such folder, and not a hub id like 'owner/name' either")
    return None
