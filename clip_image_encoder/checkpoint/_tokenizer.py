"""A checkpoint's tokenizer: texts become the token ids that its text tower was trained on."""

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

# A long text is cut before it is tokenized, to so much: so many characters for each token that is wanted,
# tokens behind the last one that is read, characters of a word that stays whole.
_CHARACTERS_A_TOKEN = 8
_SPARE_TOKENS = 64
_LONGEST_WORD = 16_384
_END_OF_WORD = re.compile(r"\s|\Z")


class CheckpointTokenizer:
    """Turns texts into token ids as a checkpoint's training did: cleaned, cut and padded alike.

    It may be called from several threads, and pickles as its configuration.

    Args:
        checkpoint: Whose tokenizer files are read.
        max_length: Number of tokens at which texts are cut, special ones included.
        padding: "longest" or "max_length", as in `models.TextSpec`.
        clean: Changes a text before it becomes tokens; None leaves it alone.
        tokenizer: Makes the tokenizer of the files, as in `models.TextSpec`; None leaves it to the files.

    Raises:
        ConfigurationError: `max_length` is not a positive integer, or leaves no token between the special ones.
        MissingExtraError: The tokenizer is of a kind that needs a package which is not installed.
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
            raise ConfigurationError(f"max_length must be more than {around}, the number of special tokens")

    @property
    def fingerprint(self) -> str:
        """Same string, same token ids: the tokenizer's files, and how texts are cleaned, cut and padded."""
        parts = (self._checkpoint.tokenizer_fingerprint, self._max_length, self._padding)
        rules = [self._tokenizer.rule, "" if self._clean is None else _described(self._clean)]
        return " of ".join([f"tokens{parts}", *filter(None, rules)])

    def as_json(self) -> str:
        """Return what a `tokenizer.json` holds that gives the same ids.

        Raises:
            ConfigurationError: It is of a kind that no such file holds.
        """
        if not isinstance(self._tokenizer, FastTokenizer):
            raise ConfigurationError(f"{self._checkpoint.name}: its tokenizer has no form as tokenizer.json")
        return to_json(self._tokenizer)

    def __call__(self, texts: Sequence[str], /) -> tuple[TokenIds, TokenIds | None]:
        """Return token ids `(n, length)`, and their mask or None.

        Args:
            texts: Strings without surrogates.
        """
        clean = self._clean or str
        # One by one: a batch is tokenized on threads of the library's own, which a forked process doesn't have.
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
        # A tower that was trained on full length attends to the padding.
        return token_ids, None if fills else mask

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer(enough_of(text, self._tokenizer, self._max_length), self._max_length)

    def __repr__(self) -> str:
        return f"CheckpointTokenizer({self._checkpoint.name!r}, max_length={self._max_length})"

    def __reduce__(self) -> tuple[Callable[..., CheckpointTokenizer], tuple[Any, ...]]:
        return _restore, (self._checkpoint, self._max_length, self._padding, self._clean, self._make)


def enough_of(text: str, tokenizer: TextTokenizer, max_length: int) -> str:
    """Return the start of a text, or all of it, of which the tokenizer makes the same first tokens as of the whole.

    A tokenizer reads a text to its end, at a megabyte in seconds, before it cuts the tokens. What lies many tokens
    further on doesn't change one, with an exception: where a unigram tokenizer meets a run of one character that is
    longer than any word, the run's length decides which of its tokens is the odd one.

    Args:
        text: Of any length.
        tokenizer: The checkpoint's own.
        max_length: Number of tokens that are read.
    """
    wanted = max_length + _SPARE_TOKENS
    length = _CHARACTERS_A_TOKEN * wanted
    while length < len(text) and tokenizer.truncation_side == "right":
        end = _END_OF_WORD.search(text, length, length + _LONGEST_WORD)
        start = text[: end and end.start()]
        if len(tokenizer(start, wanted)) == wanted:
            return start
        length *= 4  # there was much that became no token, such as white space
    return text


def _described(clean: Callable[[str], str]) -> str:
    """Return where a function is defined, or the fields of a rule with settings, which is a frozen dataclass."""
    if isinstance(clean, FunctionType) and "<" not in clean.__qualname__:  # as in <lambda>, which two may be called
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
    """Return the tokenizer of a checkpoint's files, by the rules of a text tower.

    Args:
        source: Whose tokenizer files are read.
        spec: The text tower, of this checkpoint or of another.
        max_length: Number of tokens at which texts are cut; None, and what is more, is where the tower ends.

    Raises:
        ConfigurationError: `max_length` leaves no token between the special ones.
        MissingExtraError: The tokenizer is of a kind that needs a package which is not installed.
        CheckpointError: The tokenizer's files are missing, or can't be loaded.
    """
    return CheckpointTokenizer(
        source,
        max_length=spec.max_length if max_length is None else min(max_length, spec.max_length),
        padding=spec.padding,
        clean=spec.clean,
        tokenizer=spec.tokenizer,
    )
