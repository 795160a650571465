"""The tokenizers of SigLIP and SigLIP 2, which clean a text, cut it and add an end token as the trainings did.

The tokenizer's files say which of the two a checkpoint is; fixed-size SigLIP 2 has the config of SigLIP.

SigLIP: lower case, no punctuation, one space for any white space, then the pieces of sentencepiece. transformers'
`SiglipTokenizer` does the same through the sentencepiece library; here its `spiece.model` is read without it.

SigLIP 2: Gemma's byte pairs of lower-cased texts, with their punctuation: it was trained so (section 2.1 of the
paper), and transformers 5 has a `Siglip2Tokenizer` that does so for NaFlex checkpoints (issue 43054 of transformers).
For those of fixed size it runs `GemmaTokenizer`, which their files name and which keeps the case; transformers 4 ran
it for both. open_clip removes the punctuation, too, and its own format says so. Here the rule for a checkpoint in
transformers' format is that of `Siglip2Tokenizer`, whatever the size.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from clip_image_encoder.models._family import TextTokenizer, TokenizerFiles
from clip_image_encoder.models._sentencepiece import read_pieces
from clip_image_encoder.models._tokens import FastTokenizer, put_ends, read_json_tokenizer, side

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["siglip_texts"]

_SPACE = "▁"
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_SIGLIP = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}
_GEMMA = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>"}


def siglip_texts(files: TokenizerFiles) -> TextTokenizer | None:
    """Return the tokenizer of SigLIP or SigLIP 2, or None if the files are of another kind.

    Raises:
        ValueError: A file that the tokenizer needs is missing or damaged.
    """
    from tokenizers import models

    # It comes before a tokenizer.json, which is a conversion of it that transformers' own class doesn't read.
    path = files.paths.get("spiece.model")
    pieces = path and read_pieces(path.read_bytes())
    if pieces:
        return _CanonicalTexts(pieces, pieces.ids.get, files)  # no rule: the ids are those of the files' own class
    tokenizer = read_json_tokenizer(files)
    if tokenizer and isinstance(tokenizer.model, models.Unigram):
        return _CanonicalTexts(_pieces_of(tokenizer), tokenizer.token_to_id, files, rule="SigLIP's texts")
    if tokenizer and isinstance(tokenizer.model, models.BPE):
        return _lower_case_texts(tokenizer, files)
    if tokenizer is None and "tokenizer.model" in files.paths:
        raise ValueError("tokenizer.json is missing; a SigLIP 2 needs it beside tokenizer.model or in its place")
    return None


class _CanonicalTexts:
    """SigLIP's tokenizer, which gives the ids of transformers' `SiglipTokenizer`.

    Args:
        pieces: Function that normalizes a cleaned text as sentencepiece does, and returns the ids of its pieces.
        id_of: Function that returns the id of a token, or None if the vocabulary doesn't have it.
        files: Files of the tokenizer, which name the special tokens.
        rule: Name for the fingerprint, as in `TextTokenizer.rule`; "" by default.

    Raises:
        ValueError: A special token is not in the vocabulary.
    """

    special_tokens = 1

    def __init__(
        self,
        pieces: Callable[[str], list[int]],
        id_of: Callable[[str], int | None],
        files: TokenizerFiles,
        *,
        rule: str = "",
    ) -> None:
        files = replace(files, settings={**_SIGLIP, **files.settings})
        self.rule = rule
        self._pieces = pieces
        self._special = _special_ids(files, id_of)
        self._is_special = re.compile(f"({'|'.join(map(re.escape, sorted(self._special, key=len, reverse=True)))})")
        for token in (files.token("eos_token"), files.token("pad_token")):
            if token not in self._special:
                raise ValueError(f"the special token {token!r} is not in its vocabulary")
        self._end, self.padding_id = (self._special[files.token(role) or ""] for role in ("eos_token", "pad_token"))
        self._is_lowered = files.settings.get("do_lower_case", True)
        self.padding_side = side(files.settings.get("padding_side"))
        self.truncation_side = side(files.settings.get("truncation_side"))

    def __call__(self, text: str, max_length: int, /) -> list[int]:
        """Return the ids of a text with the end token, cut to `max_length`."""
        ids: list[int] = []
        # The first word of a text gets the space that sentencepiece has before every word.
        for part in self._is_special.split(_SPACE + text.replace(_SPACE, " ")):
            special = self._special.get(part)
            ids += self._pieces(self._canonical(part)) if special is None else [special]
        room = max_length - self.special_tokens
        ids = ids[:room] if self.truncation_side == "right" else ids[-room:]
        return ids if ids[-1:] == [self._end] else [*ids, self._end]

    def _canonical(self, text: str) -> str:
        words = (text.lower() if self._is_lowered else text).translate(_NO_PUNCTUATION)
        return re.sub(r"\s+", " ", words).strip()


def _special_ids(files: TokenizerFiles, id_of: Callable[[str], int | None]) -> dict[str, int]:
    """Return the ids of the special tokens, those included that were added to the vocabulary."""
    added = files.settings.get("added_tokens_decoder")
    ids = {value["content"]: int(number) for number, value in (added.items() if isinstance(added, Mapping) else ())}
    for token in map(files.token, _SIGLIP):
        number = None if token is None else id_of(token)
        if token is not None and number is not None:
            ids[token] = number
    return ids


def _pieces_of(tokenizer: Tokenizer) -> Callable[[str], list[int]]:
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # The tokenizer puts a space before the first word by itself.
    return lambda text: tokenizer.encode(text.strip(f" {_SPACE}"), add_special_tokens=False).ids


def _lower_case_texts(tokenizer: Tokenizer, files: TokenizerFiles) -> TextTokenizer:
    """Return SigLIP 2's tokenizer, which gives the ids of transformers' `Siglip2Tokenizer`."""
    from tokenizers import normalizers

    files = replace(files, settings={**_GEMMA, **files.settings})
    lower: normalizers.Normalizer = normalizers.Lowercase()
    tokenizer.normalizer = normalizers.Sequence([lower, tokenizer.normalizer]) if tokenizer.normalizer else lower
    put_ends(tokenizer, files)
    return FastTokenizer(tokenizer, files, rule="SigLIP 2's texts")
