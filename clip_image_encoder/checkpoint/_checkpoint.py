"""A model's name becomes files, what its config says, and a fingerprint of its weights."""

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
from clip_image_encoder.errors import CheckpointError, ConfigurationError
from clip_image_encoder.models import TextSpec, VisionSpec, Weights

if TYPE_CHECKING:
    import torch

__all__ = ["Checkpoint", "open_checkpoint"]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint of any format, pinned to one folder or one commit of the hub.

    Large files are fetched when they are asked for. Files that change after they were first read are an
    error when they are read again. It pickles as its name and commit, so that another process, or another
    machine, reads the weights for itself. If its fingerprint was asked for, the pickle has it, and other
    weights are refused there; to know them, a folder's weights are read once more.

    Attributes:
        files: Where the files of the checkpoint lie.
        format: How the files are laid out.
        config: What describes the model, such as the parsed `config.json`.
    """

    files: PinnedFiles
    format: Format = field(repr=False)
    config: dict[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """The checkpoint as messages call it."""
        return self.files.name

    @cached_property
    def vision(self) -> VisionSpec:
        """The vision tower.

        Raises:
            CheckpointError: The checkpoint has none, or its architecture is not supported.
        """
        return self.format.vision(self.config, self.name)

    @cached_property
    def text(self) -> TextSpec:
        """The text tower.

        Raises:
            CheckpointError: The checkpoint has none, or its architecture is not supported.
        """
        return self.format.text(self.config, self.name)

    @property
    def preprocessor_config(self) -> dict[str, Any]:
        """The image processor's configuration.

        Raises:
            CheckpointError: The checkpoint doesn't say how its images were prepared.
        """
        return self.format.preprocessor_config(self.files)

    @property
    def runtime(self) -> str | None:
        """Name of the backend that alone runs it, as of an exported folder; None where any may."""
        return self.format.runtime(self.config)

    def weights(self, dtype: torch.dtype) -> Weights:
        """Return the tensors, to fill towers with.

        Args:
            dtype: Of the weights in memory, whatever the files have.

        Raises:
            CheckpointError: There are no weights that can be read, or a file is damaged.
        """
        from clip_image_encoder.checkpoint._weights import SafetensorsWeights

        return SafetensorsWeights(self.files, self.format.tensors(self.files), dtype)

    def number(self, name: str) -> float | None:
        """Return a tensor of a single number, or None where the checkpoint has no tensor of that name.

        Args:
            name: Of the tensor, such as "logit_scale".

        Raises:
            CheckpointError: There are no weights that can be read, or a file is damaged.
        """
        if self.format.numbers is not None:
            return self.format.numbers(self.config).get(name)
        # Here, so that who brings a backend needs no safetensors.
        from clip_image_encoder.checkpoint._safetensors import open_safetensors

        filename = self.format.tensors(self.files).get(name)
        if filename is None:
            return None
        # torch's, since numpy has no bfloat16.
        with open_safetensors(self.files, filename, "pt") as reader:
            return float(reader.get_tensor(name))

    def tokenizer_files(self) -> list[str]:
        """Return the names of the tokenizer's files; none is fetched.

        Raises:
            CheckpointError: The checkpoint has no tokenizer.
        """
        names = self.format.tokenizer_files(self.files)
        if VOCABULARIES.isdisjoint(PurePosixPath(name).name for name in names):
            raise CheckpointError(f"{self.name}: the tokenizer's files are missing (tokenizer.json)")
        return names

    def tokenizer_folder(self) -> Path:
        """Return a folder that holds the tokenizer's files.

        Raises:
            CheckpointError: The checkpoint has no tokenizer, or it can't be had.
        """
        paths = [self.files.path(name) for name in self.tokenizer_files()]
        return paths[0].parent

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the config and the weight files: the same wherever and under whatever name they lie."""
        return _digest(self.files, self._towers_files())

    @property
    def stamp(self) -> str:
        """Same string, same config and weights on this machine; no file is read, whatever its size."""
        return ", ".join(map(self.files.stamp, self._towers_files()))

    @cached_property
    def tokenizer_fingerprint(self) -> str:
        """SHA-256 of the tokenizer's files, likewise."""
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
        raise CheckpointError(f"{files.name}: is no checkpoint; none of {', '.join(some)} and {last} is there")
    return Checkpoint(files=pinned, format=format, config=format.read(pinned, format.config_file))


def _restore(files: Files, config_file: str, known: Mapping[str, str]) -> Checkpoint:
    """Open a checkpoint again, in another process or on another machine, and see that it is the same.

    Args:
        files: Where they lie.
        config_file: Name of the file that describes the model, by which its format is known.
        known: The fingerprints that were asked for before.
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
    """Find a checkpoint and read its config.

    The arguments mean what they mean to transformers' `from_pretrained`, and the same cache and
    environment variables (HF_HOME, HF_HUB_OFFLINE, HF_TOKEN) are honoured.

    Args:
        model: A hub id, a folder, or "tiny-shapes", which is bundled. A name that starts with "hf-hub:" or
            "local-dir:" is a hub id or a folder in open_clip's format, though others may lie beside it.
        revision: Branch, tag or commit on the hub; None is the newest.
        token: Token of the hub, for private and gated repositories.
        cache_dir: Folder where downloaded files are kept instead of the hub's own cache.
        local_files_only: Whether the network is never asked.

    Raises:
        ConfigurationError: `model` is neither a name nor a path.
        CheckpointError: The checkpoint doesn't exist, can't be reached, or has no readable config.
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
    """Return the folder that a model's name means, or None if it is a name on the hub."""
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
