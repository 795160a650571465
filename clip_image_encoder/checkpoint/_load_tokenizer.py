"""Loads a checkpoint's tokenizer: by its family's function, from `tokenizer.json`, or through transformers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Any

from clip_image_encoder._messages import first_line
from clip_image_encoder.checkpoint._checkpoint import Checkpoint
from clip_image_encoder.checkpoint._files import read_json
from clip_image_encoder.errors import CheckpointError, MissingExtraError
from clip_image_encoder.models import TextTokenizer, TokenizerFiles
from clip_image_encoder.models._tokens import FastTokenizer, read_json_tokenizer, side
from clip_image_encoder.models._transformers import own_module

__all__ = ["load_tokenizer"]


def load_tokenizer(
    checkpoint: Checkpoint, make: Callable[[TokenizerFiles], TextTokenizer | None] | None
) -> TextTokenizer:
    """Return the tokenizer of a checkpoint's files.

    Args:
        checkpoint: Checkpoint whose tokenizer files are read.
        make: Function of the family that makes the tokenizer, as `models.TextSpec.tokenizer`; None if it has none.

    Raises:
        MissingExtraError: The tokenizer needs a package that is not installed.
        CheckpointError: The files are missing, or can't be loaded.
    """
    files = _files(checkpoint)
    try:
        return _from_files(files, make) or _through_transformers(files)
    except ImportError as error:  # transformers names the packages of every way to read the files
        pieces = next((name for name in files.paths if name.endswith(".model")), None)
        if pieces and find_spec("sentencepiece") is None:
            raise MissingExtraError(
                f"{checkpoint.name}: sentencepiece is needed to read {pieces}: "
                "python -m pip install sentencepiece protobuf"
            ) from error
        raise _unreadable(checkpoint, error) from error
    except Exception as error:  # the compiled part of the tokenizers library raises bare Exceptions
        raise _unreadable(checkpoint, error) from error


def _from_files(
    files: TokenizerFiles, make: Callable[[TokenizerFiles], TextTokenizer | None] | None
) -> TextTokenizer | None:
    made = make(files) if make else None
    if made is None and (tokenizer := read_json_tokenizer(files)):
        return FastTokenizer(tokenizer, files)
    return made


def _unreadable(checkpoint: Checkpoint, error: Exception) -> CheckpointError:
    return CheckpointError(f"{checkpoint.name}: the tokenizer can't be loaded: {first_line(error)}")


def _files(checkpoint: Checkpoint) -> TokenizerFiles:
    checkpoint.tokenizer_folder()  # raises an error if there are none
    names = {PurePosixPath(name).name: name for name in checkpoint.format.tokenizer_files(checkpoint.files)}
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if name in names:
            said = read_json(checkpoint.files, names[name])
            settings |= {key: value for key, value in said.items() if value is not None}
    return TokenizerFiles(paths={name: checkpoint.files.path(names[name]) for name in names}, settings=settings)


class _SlowTokenizer:
    """A tokenizer of transformers that the tokenizers library doesn't run: written in Python, or in another library."""

    rule = ""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.special_tokens: int = tokenizer.num_special_tokens_to_add()
        self.padding_id: int = tokenizer.pad_token_id
        self.padding_side = side(tokenizer.padding_side)
        self.truncation_side = side(tokenizer.truncation_side)

    def __call__(self, text: str, max_length: int, /) -> list[int]:
        ids: list[int] = self._tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        return ids


def _through_transformers(files: TokenizerFiles) -> TextTokenizer:
    load: Callable[..., Any] = own_module().AutoTokenizer.from_pretrained
    loaded = load(next(iter(files.paths.values())).parent, local_files_only=True, trust_remote_code=False)
    if loaded.pad_token is None:
        raise ValueError("it has no pad_token")
    if not loaded.is_fast:
        return _SlowTokenizer(loaded)
    known = {name: getattr(loaded, name) for name in ("pad_token", "padding_side", "truncation_side")}
    return FastTokenizer(loaded.backend_tokenizer, replace(files, settings={**files.settings, **known}))
