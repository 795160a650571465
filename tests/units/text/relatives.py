"""The tokenizers' files of CLIP's relatives, with vocabularies of a few dozen tokens, as transformers writes them."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoTokenizer

from . import xlm_tokenizer
from .tokenizer_files import WORDS

__all__ = ["RELATIVES", "pieces", "vocabulary"]


def vocabulary() -> list[str]:
    """Return BERT's kind of tokens: words, letters, and letters behind others."""
    letters = [start + letter for start in ("", "##") for letter in string.ascii_lowercase]
    return list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红", "!", *WORDS, *letters]))


def pieces() -> list[str]:
    """Return XLM-R's kind of tokens: words with the white space before them, and letters."""
    words = [f"▁{word}" for word in WORDS]
    return ["<s>", "<pad>", "</s>", "<unk>", *words, "▁", "红", "!", *string.ascii_letters, "<mask>"]


def write_vocabulary(folder: Path) -> None:
    """Write a bare `vocab.txt`, as Chinese CLIP's checkpoints on the hub have it."""
    (folder / "vocab.txt").write_text("\n".join(vocabulary()))


def write_bert(folder: Path) -> None:
    """Write what transformers saves of a BERT's tokenizer."""
    write_vocabulary(folder)
    load: Callable[..., Any] = AutoTokenizer.from_pretrained
    load(folder).save_pretrained(folder)


def write_xlm_roberta(folder: Path) -> None:
    """Write what transformers saves of an XLM-R's tokenizer; sentencepiece is not needed to make, save or load it."""
    unigram = Tokenizer(models.Unigram([(piece, -float(place)) for place, piece in enumerate(pieces())], unk_id=3))
    unigram.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    unigram.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    # The two major versions call the class differently.
    kind: Any = getattr(transformers, "XLMRobertaTokenizerFast", None) or transformers.XLMRobertaTokenizer
    kind(tokenizer_object=unigram).save_pretrained(folder)


def write_metaclip2(folder: Path) -> None:
    """Write the files that lie beside MetaCLIP 2's weights."""
    xlm_tokenizer.save(xlm_tokenizer.build(WORDS), folder)


RELATIVES: dict[str, Callable[[Path], None]] = {
    "align": write_bert,
    "altclip": write_xlm_roberta,
    "blip": write_bert,
    "chinese_clip": write_vocabulary,
    "metaclip2": write_metaclip2,
    "metaclip2_text": write_metaclip2,
}
"""By the names of the models in `conftest.py`."""
