"""CLIP's tokenizer: byte pairs of lower-cased words, from `tokenizer.json` or from vocabulary and merges."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from clip_image_encoder.models._family import TextTokenizer, TokenizerFiles
from clip_image_encoder.models._tokens import FastTokenizer, id_of, read_json_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["byte_pairs"]

_END_OF_WORD = "</w>"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_ROLES = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _END}
_WORD = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_pairs(files: TokenizerFiles) -> TextTokenizer | None:
    """Return CLIP's tokenizer, or None where none of the files are there that it is made of."""
    files = replace(files, settings={**_ROLES, **files.settings})
    tokenizer = read_json_tokenizer(files) or _from_merges(files)
    if tokenizer is None:
        return None
    if getattr(tokenizer.model, "end_of_word_suffix", None) == _END_OF_WORD:
        _split_as_clip(tokenizer, files)
    return FastTokenizer(tokenizer, files)


def _from_merges(files: TokenizerFiles) -> Tokenizer | None:
    from tokenizers import Tokenizer, models

    paths = [files.paths.get(name) for name in ("vocab.json", "merges.txt")]
    if None in paths:
        return None
    vocabulary, merges = map(str, paths)
    unknown = files.token("unk_token")
    return Tokenizer(models.BPE.from_file(vocabulary, merges, unk_token=unknown, end_of_word_suffix=_END_OF_WORD))


def _split_as_clip(tokenizer: Tokenizer, files: TokenizerFiles) -> None:
    """Let a tokenizer split texts as transformers' `CLIPTokenizer` does, which takes no more than words from a file."""
    from tokenizers import Regex, normalizers, pre_tokenizers, processors

    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    start, end = files.token("bos_token") or _START, files.token("eos_token") or _END
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, id_of(tokenizer, end)),
        (start, id_of(tokenizer, start)),
        trim_offsets=False,
        add_prefix_space=False,
    )
