"""open_clip's tokenizers, which clean and cut texts as its `tokenizer.py` does.

If a `text_cfg` names a tokenizer of transformers, that one is used, else CLIP's own byte pairs. Both are read from the
checkpoint's files.
"""

from __future__ import annotations

import html
import string
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from clip_image_encoder.models._byte_pairs import END, END_OF_WORD, START, read_byte_pairs
from clip_image_encoder.models._family import TextTokenizer, TokenizerFiles
from clip_image_encoder.models._tokens import FastTokenizer, id_of, put_ends, read_json_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["cleaning_of", "tokenizer_of"]

_SPECIAL = ("<start_of_text>", "<end_of_text>")
"""Words that open_clip reads as special tokens in a text; the vocabulary's files have other names for these tokens."""

_WORD = rf"(?i:{'|'.join(_SPECIAL)}|'s|'t|'re|'ve|'m|'ll|'d|\p{{L}}+|\p{{N}}|[^\s\p{{L}}\p{{N}}]+)"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def cleaning_of(text: Mapping[str, Any]) -> Callable[[str], str]:
    """Return the function that cleans texts before they are tokenized.

    Args:
        text: Settings of the text tower, a `text_cfg`.

    Raises:
        ValueError: The settings ask for what open_clip does not have, or does in training only.
    """
    settings = text.get("tokenizer_kwargs") or {}
    if unknown := sorted(settings.keys() - {"clean", "strip_sep_token"}):
        raise ValueError(f"tokenizer_kwargs has {', '.join(unknown)}, which is not supported")
    kind = settings.get("clean", "whitespace" if text.get("hf_tokenizer_name") else "lower")
    if kind not in _CLEANINGS:
        raise ValueError(f"tokenizer_kwargs has clean={kind!r}, which is not one of {', '.join(_CLEANINGS)}")
    return _CLEANINGS[kind]


def tokenizer_of(text: Mapping[str, Any]) -> Callable[[TokenizerFiles], TextTokenizer | None]:
    """Return the function that makes the tokenizer of a `text_cfg` from a checkpoint's files.

    Raises:
        ValueError: The settings ask for a mode that is not supported.
    """
    if not text.get("hf_tokenizer_name"):
        return simple_texts
    if mode := text.get("tokenizer_mode"):
        raise ValueError(f"tokenizer_mode is {mode!r}, which is not supported")
    return without_separator_texts if (text.get("tokenizer_kwargs") or {}).get("strip_sep_token") else named_texts


def lower(text: str) -> str:
    """Return a text with its encoding repaired, one space for any white space, and in lower case."""
    return white_space(text).lower()


def white_space(text: str) -> str:
    """Return a text with its encoding repaired and one space for any white space."""
    return " ".join(_repaired(text).split())


def canonical(text: str) -> str:
    """Return a text with its encoding repaired, without punctuation, one space for any white space, in lower case."""
    return " ".join(_repaired(text).replace("_", " ").translate(_NO_PUNCTUATION).lower().split())


def _repaired(text: str) -> str:
    """Return a text in which ftfy has repaired wrong encodings and typographic variants, without HTML entities."""
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(text))).strip()


_CLEANINGS = {"lower": lower, "whitespace": white_space, "canonicalize": canonical}


def simple_texts(files: TokenizerFiles) -> TextTokenizer:
    """Return open_clip's `SimpleTokenizer`, with CLIP's vocabulary from the checkpoint's files.

    Raises:
        ValueError: The files have no vocabulary, or one of another kind.
    """
    tokenizer = read_byte_pairs(files)
    if tokenizer is None or getattr(tokenizer.model, "end_of_word_suffix", None) != END_OF_WORD:
        raise ValueError("open_clip's texts need CLIP's vocabulary: tokenizer.json, or vocab.json and merges.txt")
    ends = [id_of(tokenizer, files.token(role) or word) for role, word in (("bos_token", START), ("eos_token", END))]
    return _SimpleTexts(tokenizer, start=ends[0], end=ends[1])


class _SimpleTexts:
    """A tokenizer that gives the ids of open_clip's `SimpleTokenizer`.

    Args:
        tokenizer: Tokenizer with CLIP's vocabulary and merges; its rules for cleaning and cutting texts are not used.
        start: Id of the token that is put before a text.
        end: Id of the token that is put after a text.
    """

    special_tokens = 2
    padding_id = 0
    padding_side: Literal["right"] = "right"
    truncation_side: Literal["right"] = "right"
    rule = "open_clip's SimpleTokenizer"

    def __init__(self, tokenizer: Tokenizer, *, start: int, end: int) -> None:
        from tokenizers import Regex, Tokenizer, pre_tokenizers

        self._words = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
        # Made anew from the vocabulary alone, since the given one would find its special tokens in a text.
        self._tokenizer = Tokenizer(tokenizer.model)
        as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        self._tokenizer.pre_tokenizer = pre_tokenizers.Sequence([self._words, as_bytes])
        self._special = dict(zip(_SPECIAL, (start, end), strict=True))
        self._start, self._end = start, end

    def __call__(self, text: str, max_length: int, /) -> list[int]:
        """Return the ids of a text, special tokens included, cut to `max_length`."""
        ids = self._ids_of_words(text) if any(word in text for word in _SPECIAL) else self._ids(text)
        return [self._start, *ids[: max_length - self.special_tokens], self._end]

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def _ids_of_words(self, text: str) -> list[int]:
        """Return the ids of a text that may have special tokens; one with punctuation before it is an ordinary word."""
        ids: list[int] = []
        for word, _place in self._words.pre_tokenize_str(text):
            ids += [self._special[word]] if word in self._special else self._ids(word)
        return ids


def named_texts(files: TokenizerFiles) -> TextTokenizer | None:
    """Return the tokenizer of transformers that a `text_cfg` names, or None if there is no `tokenizer.json`."""
    tokenizer = read_json_tokenizer(files)
    if tokenizer is None:
        return None
    put_ends(tokenizer, files)
    return FastTokenizer(tokenizer, files)


def without_separator_texts(files: TokenizerFiles) -> TextTokenizer:
    """Return the tokenizer that a `text_cfg` names, with separators replaced by 0, as CLIPA was trained.

    Raises:
        ValueError: The `tokenizer.json` is missing, or has no separator.
    """
    tokenizer, texts = read_json_tokenizer(files), named_texts(files)
    if tokenizer is None or texts is None:
        raise ValueError("tokenizer.json is missing, which says what the separator is")
    return _WithoutSeparators(texts, id_of(tokenizer, files.token("sep_token") or "[SEP]"))


class _WithoutSeparators:
    """A tokenizer that replaces separators by the id 0.

    Args:
        texts: Tokenizer that adds the separators.
        separator: Id of the separator.
    """

    rule = "open_clip's texts without separators"

    def __init__(self, texts: TextTokenizer, separator: int) -> None:
        self._texts = texts
        self._separator = separator
        self.special_tokens = texts.special_tokens
        self.padding_id = 0 if texts.padding_id == separator else texts.padding_id
        self.padding_side, self.truncation_side = texts.padding_side, texts.truncation_side

    def __call__(self, text: str, max_length: int, /) -> list[int]:
        """Return the ids of a text, special tokens included, cut to `max_length`."""
        return [0 if number == self._separator else number for number in self._texts(text, max_length)]
