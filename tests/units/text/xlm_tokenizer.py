"""A tokenizer of XLM-V's kind, as MetaCLIP 2 has it: unigrams, and an end token that hasn't the highest id."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

SPECIAL = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}

_START, _PADDING, _END, _UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"


def build(words: Sequence[str]) -> Tokenizer:
    """Make a tokenizer in which each word is one token, and other lower-case words fall apart into letters."""
    pieces = [f"▁{word}" for word in words] + ["▁", *string.ascii_lowercase]
    special = [_START, _PADDING, _END, _UNKNOWN]
    tokenizer = Tokenizer(models.Unigram([(token, 0.0) for token in special] + [(piece, -1.0) for piece in pieces], 3))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_START} $A {_END}", special_tokens=[(_START, 0), (_END, 2)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the files that lie beside MetaCLIP 2's weights."""
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "XLMRobertaTokenizer",
        "model_max_length": 77,
        "bos_token": _START,
        "cls_token": _START,
        "eos_token": _END,
        "sep_token": _END,
        "pad_token": _PADDING,
        "unk_token": _UNKNOWN,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
