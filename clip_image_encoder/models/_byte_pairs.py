"""CLIP's tokenizer: byte pairs of lower-cased words, from `tokenizer.json`, or from `vocab.json` and `merges.txt`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from clip_image_encoder.models._family import TextTokenizer, TokenizerFiles
from clip_image_encoder.models._tokens import FastTokenizer, id_of, read_json_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["END", "END_OF_WORD", "START", "byte_pairs", "read_byte_pairs"]

END_OF_WORD = "</w>"
START, END = "<|startoftext|>", "<|endoftext|>"
_ROLES = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
_WORD = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_pairs(files: TokenizerFiles) -> TextTokenizer | None:
    """Return CLIP's tokenizer, or None if the files that it is made of are missing."""
    files = replace(files, settings={**_ROLES, **files.settings})
    tokenizer = read_byte_pairs(files)
    if tokenizer is None:
        return None
    if getattr(tokenizer.model, "end_of_word_suffix", None) == END_OF_WORD:
        _split_as_clip(tokenizer, files)
    return FastTokenizer(tokenizer, files)


def read_byte_pairs(files: TokenizerFiles) -> Tokenizer | None:
    """Return the tokenizer of `tokenizer.json`, else of `vocab.json` and `merges.txt`; None if both are missing."""
    from tokenizers import Tokenizer, models

    tokenizer = read_json_tokenizer(files)
    if tokenizer is not None:
        return tokenizer
    paths = [files.paths.get(name) for name in ("vocab.json", "merges.txt")]
    if None in paths:
        return None
    vocabulary, merges = map(str, paths)
    unknown = files.token("unk_token") or END
    return Tokenizer(models.BPE.from_file(vocabulary, merges, unk_token=unknown, end_of_word_suffix=END_OF_WORD))


def _split_as_clip(tokenizer: Tokenizer, files: TokenizerFiles) -> None:
    """Make a tokenizer split texts as transformers' `CLIPTokenizer` does, which reads only a file's vocabulary."""
    from tokenizers import Regex, normalizers, pre_tokenizers, processors

    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    start, end = files.token("bos_token") or START, files.token("eos_token") or END
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, id_of(tokenizer, end)),
        (start, id_of(tokenizer, start)),
        trim_offsets=False,
        add_prefix_space=False,
    )
