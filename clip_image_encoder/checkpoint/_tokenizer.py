"""A checkpoint's tokenizer: texts become the token ids that its text tower was trained on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from types import FunctionType
from typing import Any, Literal, Protocol

from clip_image_encoder._arguments import check_count
from clip_image_encoder._fingerprint import describe_component
from clip_image_encoder._forks import in_forks, no_fork
from clip_image_encoder._messages import first_line
from clip_image_encoder.arrays import TokenIds
from clip_image_encoder.checkpoint._checkpoint import Checkpoint
from clip_image_encoder.errors import CheckpointError

__all__ = ["CheckpointTokenizer", "Tokenizer", "enough_of"]

# A long text is cut before it is tokenized, to so much: so many characters for each token that is wanted,
# tokens behind the last one that is read, characters of a word that stays whole.
_CHARACTERS_A_TOKEN = 8
_SPARE_TOKENS = 64
_LONGEST_WORD = 16_384
_END_OF_WORD = re.compile(r"\s|\Z")


class Tokenizer(Protocol):
    """What is asked of a tokenizer of transformers."""

    @property
    def truncation_side(self) -> str:
        """Where texts are cut that are too long: "right" or "left"."""
        ...

    def __call__(
        self,
        text: str | list[str],
        /,
        *,
        padding: str | bool = False,
        truncation: bool,
        max_length: int,
        return_tensors: str | None = None,
    ) -> Mapping[str, Any]:
        """Return `input_ids` and, of most tokenizers, an `attention_mask`."""
        ...


class CheckpointTokenizer:
    """Turns texts into token ids as a checkpoint's training did: cleaned, cut and padded alike.

    It may be called from several threads, and pickles as its configuration.

    Args:
        checkpoint: Whose tokenizer files are read.
        max_length: Number of tokens at which texts are cut, special ones included.
        padding: "longest" or "max_length", as in `models.TextSpec`.
        clean: Changes a text before it becomes tokens; None leaves it alone.

    Raises:
        ConfigurationError: `max_length` is not a positive integer.
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
    ) -> None:
        self._checkpoint = checkpoint
        self._max_length = check_count(max_length, name="max_length")
        self._padding = padding
        self._clean = clean
        self._tokenizer = _load(checkpoint)
        self._lock = Lock()
        in_forks(self, CheckpointTokenizer._renew)

    @property
    def fingerprint(self) -> str:
        """Same string, same token ids: the tokenizer's files, and how texts are cleaned, cut and padded."""
        parts = (self._checkpoint.tokenizer_fingerprint, self._max_length, self._padding)
        rule = "" if self._clean is None else f" of {_described(self._clean)}"
        return f"tokens{parts}{rule}"

    def __call__(self, texts: Sequence[str], /) -> tuple[TokenIds, TokenIds | None]:
        """Return token ids `(n, length)`, and their mask or None.

        Args:
            texts: Strings without surrogates.
        """
        clean = self._clean or str
        # Fast tokenizers keep padding and truncation as state, which threads would fight over.
        with self._lock, no_fork():
            tokens = self._tokenizer(
                [enough_of(clean(text), self._tokenizer, self._max_length) for text in texts],
                padding=self._padding,
                truncation=True,
                max_length=self._max_length,
                return_tensors="np",
            )
        return tokens["input_ids"], tokens.get("attention_mask")

    def __repr__(self) -> str:
        return f"CheckpointTokenizer({self._checkpoint.name!r}, max_length={self._max_length})"

    def __reduce__(self) -> tuple[Callable[..., CheckpointTokenizer], tuple[Any, ...]]:
        return _restore, (self._checkpoint, self._max_length, self._padding, self._clean)

    def _renew(self) -> None:
        self._lock = Lock()
        if "TOKENIZERS_PARALLELISM" in os.environ:
            # Where it is set, tokenizers doesn't notice forks, and waits for its threads, which are not there.
            os.environ["TOKENIZERS_PARALLELISM"] = "false"


def enough_of(text: str, tokenizer: Tokenizer, max_length: int) -> str:
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
        if len(tokenizer(start, truncation=True, max_length=wanted)["input_ids"]) == wanted:
            return start
        length *= 4  # there was much that became no token, such as white space
    return text


def _described(clean: Callable[[str], str]) -> str:
    """Return where a function is defined, or the fields of a rule with settings, which is a frozen dataclass."""
    if isinstance(clean, FunctionType) and "<" not in clean.__qualname__:  # as in <lambda>, which two may be called
        return f"{clean.__module__}.{clean.__qualname__}"
    return describe_component(clean)


def _load(checkpoint: Checkpoint) -> Tokenizer:
    from transformers import AutoTokenizer

    load: Callable[..., Tokenizer] = AutoTokenizer.from_pretrained
    folder = checkpoint.tokenizer_folder()
    try:
        return load(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers' compiled part raises bare Exceptions
        raise CheckpointError(f"{checkpoint.name}: the tokenizer can't be loaded: {first_line(error)}") from error


def _restore(
    checkpoint: Checkpoint,
    max_length: int,
    padding: Literal["longest", "max_length"],
    clean: Callable[[str], str] | None,
) -> CheckpointTokenizer:
    return CheckpointTokenizer(checkpoint, max_length=max_length, padding=padding, clean=clean)
