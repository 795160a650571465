"""The tokenizer of a checkpoint, which turns a batch of texts into token ids for its text tower."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any, Literal

import numpy as np

from clip_image_encoder._arguments import check_count
from clip_image_encoder._fingerprint import describe_component
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import TokenIds
from clip_image_encoder.checkpoint._checkpoint import Checkpoint
from clip_image_encoder.checkpoint._load_tokenizer import load_tokenizer
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.models import TextSpec, TextTokenizer, TokenizerFiles
from clip_image_encoder.models._tokens import FastTokenizer, to_json

__all__ = ["CheckpointTokenizer", "enough_of", "tokenizer_of"]

# A long text is cut before it is tokenized; see `enough_of`.
_CHARACTERS_A_TOKEN = 8  # characters for each wanted token, at the first try
_SPARE_TOKENS = 64  # tokens after the last one that is read
_LONGEST_WORD = 16_384  # characters of a word that is not cut in two
_END_OF_WORD = re.compile(r"\s|\Z")


class CheckpointTokenizer:
    """Turns texts into token ids: cleans, tokenizes, cuts and pads them as the checkpoint's training did.

    It may be called from several threads, and pickles as its configuration.

    Args:
        checkpoint: Checkpoint whose tokenizer files are read.
        max_length: Number of tokens at which texts are cut, special ones included.
        padding: How a batch is padded: "longest" to its longest text, "max_length" to `max_length` tokens.
        clean: Function that cleans a text before it is tokenized; None, the default, leaves it as it is.
        tokenizer: Function that makes the tokenizer from its files, like `models.TextSpec.tokenizer`; None, the
            default, reads the files as they are.

    Raises:
        ConfigurationError: The `max_length` is not a positive integer, or leaves no token beside the special ones.
        MissingExtraError: The tokenizer needs a package that is not installed.
        CheckpointError: The tokenizer's files are missing, or can't be loaded.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        /,
        *,
        max_length: int,
        padding: Literal["longest", "max_length"],
        clean: Callable[[str], str] | None = None,
        tokenizer: Callable[[TokenizerFiles], TextTokenizer | None] | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._max_length = check_count(max_length, name="max_length")
        self._padding = padding
        self._clean = clean
        self._make = tokenizer
        self._tokenizer = load_tokenizer(checkpoint, tokenizer)
        around = self._tokenizer.special_tokens
        if max_length <= around:
            raise ConfigurationError(
                f"max_length must be more than {around}, the number of special tokens, not {max_length}"
            )

    @property
    def fingerprint(self) -> str:
        """String that is the same for the same token ids, from the files and how texts are cleaned, cut and padded."""
        parts = (self._checkpoint.tokenizer_fingerprint, self._max_length, self._padding)
        rules = [self._tokenizer.rule, "" if self._clean is None else _described(self._clean)]
        return " of ".join([f"tokens{parts}", *filter(None, rules)])

    def as_json(self) -> str:
        """Return the content of a `tokenizer.json` that gives the same token ids.

        Raises:
            ConfigurationError: The tokenizer is of a kind that such a file can't describe.
        """
        if not isinstance(self._tokenizer, FastTokenizer):
            raise ConfigurationError(f"{self._checkpoint.name}: its tokenizer can't be written as tokenizer.json")
        return to_json(self._tokenizer)

    def __call__(self, texts: Sequence[str], /) -> tuple[TokenIds, TokenIds | None]:
        """Return the token ids `(n, length)` of texts as int64, and their mask.

        The mask is 1 for a token and 0 for padding; None for a tower that attends to the padding.

        Args:
            texts: Texts, in which no character is a surrogate.
        """
        clean = self._clean or str
        # One by one: the library tokenizes a batch on threads of its own, which a forked process doesn't have.
        with no_fork():
            rows = [self._ids(clean(text)) for text in texts]
        fills = self._padding == "max_length"
        length = self._max_length if fills else max(map(len, rows), default=0)
        token_ids = np.full((len(rows), length), self._tokenizer.padding_id, np.int64)
        mask = np.zeros_like(token_ids)
        for number, ids in enumerate(rows):
            read = slice(len(ids)) if self._tokenizer.padding_side == "right" else slice(length - len(ids), None)
            token_ids[number, read] = ids
            mask[number, read] = 1
        # A tower that was trained on texts padded to full length attends to the padding.
        return token_ids, None if fills else mask

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(enough_of(text, self._tokenizer, self._max_length), self._max_length)

    def __repr__(self) -> str:
        return f"CheckpointTokenizer({self._checkpoint.name!r}, max_length={self._max_length})"

    def __reduce__(self) -> tuple[Callable[..., CheckpointTokenizer], tuple[Any, ...]]:
        return _restore, (self._checkpoint, self._max_length, self._padding, self._clean, self._make)


def enough_of(text: str, tokenizer: TextTokenizer, max_length: int) -> str:
    """Return as much of a text's start as decides its first tokens, since a tokenizer takes seconds for a megabyte.

    What is many tokens further on doesn't change a token, with one exception: in a run of one character that is longer
    than any word, a unigram tokenizer cuts all but one token alike, and the run's length decides which one differs.

    Args:
        text: Text of any length.
        tokenizer: Tokenizer that the text is meant for.
        max_length: Number of tokens that are read.
    """
    wanted = max_length + _SPARE_TOKENS
    length = _CHARACTERS_A_TOKEN * wanted
    while length < len(text) and tokenizer.truncation_side == "right":
        end = _END_OF_WORD.search(text, length, length + _LONGEST_WORD)
        start = text[: end and end.start()]
        if len(tokenizer(start, wanted)) == wanted:
            return start
        length *= 4  # much of it gave no token, such as white space
    return text


def _described(clean: Callable[[str], str]) -> str:
    """Return a function's module and name, or the fields of a callable with settings, a frozen dataclass."""
    if isinstance(clean, FunctionType) and "<" not in clean.__qualname__:  # "<lambda>" would not be unique
        return f"{clean.__module__}.{clean.__qualname__}"
    return describe_component(clean)


def _restore(
    checkpoint: Checkpoint,
    max_length: int,
    padding: Literal["longest", "max_length"],
    clean: Callable[[str], str] | None,
    make: Callable[[TokenizerFiles], TextTokenizer | None] | None,
) -> CheckpointTokenizer:
    return CheckpointTokenizer(checkpoint, max_length=max_length, padding=padding, clean=clean, tokenizer=make)


def tokenizer_of(source: Checkpoint, spec: TextSpec, *, max_length: int | None = None) -> CheckpointTokenizer:
    """Return the tokenizer for a text tower, from a checkpoint's files.

    Args:
        source: Checkpoint whose tokenizer files are read.
        spec: Text tower that the texts are for, of this checkpoint or of another.
        max_length: Number of tokens at which texts are cut, at most what the tower reads, which is the default.

    Raises:
        ConfigurationError: The `max_length` leaves no token beside the special ones.
        MissingExtraError: The tokenizer needs a package that is not installed.
        CheckpointError: The tokenizer's files are missing, or can't be loaded.
    """
    return CheckpointTokenizer(
        source,
        max_length=spec.max_length if max_length is None else min(max_length, spec.max_length),
        padding=spec.padding,
        clean=spec.clean,
        tokenizer=spec.tokenizer,
    )
