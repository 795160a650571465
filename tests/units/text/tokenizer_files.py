"""The files of tokenizers as they lie on the hub, with vocabularies of a few hundred tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import sentencepiece
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.programs.training import tokenizer as clip_tokenizer

__all__ = ["CLIP_SIZE", "SIZE", "WORDS", "WRITERS", "spiece", "write_clip", "write_siglip", "write_siglip2"]

WORDS = ["a", "red", "blue", "circle", "star", "on", "the"]
SENTENCES = [
    "the red circle and the blue star on a green square",
    "a photo of two dogs, it's 12 o'clock",
    "The RED Circle 1,000.50",
    "漢字仮名 한국 ภาษา",
    "élan naïve ñandú ß Ελλάδα 😀",
    "unk < >",
] * 9
SIZE = 512
"""As many tokens as any of these vocabularies has at most."""

_CLIP = clip_tokenizer.build(WORDS)
CLIP_SIZE = _CLIP.get_vocab_size()


def write_clip(folder: Path) -> None:
    """Write CLIP's files: `tokenizer.json`, and `vocab.json` and `merges.txt` beside it."""
    clip_tokenizer.save(_CLIP, folder)


def write_siglip(folder: Path) -> None:
    """Write google/siglip-*'s: `spiece.model` and settings that name `SiglipTokenizer`."""
    (folder / "spiece.model").write_bytes(spiece())
    special = {"eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    settings: dict[str, Any] = special | {
        "added_tokens_decoder": {
            "1": _matched("</s>", lstrip=True, rstrip=True) | {"special": True},
            "2": _matched("<unk>", lstrip=True, rstrip=True) | {"special": True},
        },
        "additional_special_tokens": [],
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "model_input_names": ["input_ids"],
        "model_max_length": 64,
        "processor_class": "SiglipProcessor",
        "sp_model_kwargs": {},
        "tokenizer_class": "SiglipTokenizer",
    }
    matched = {role: _matched(token, lstrip=True, rstrip=True) for role, token in special.items()}
    _write(folder, settings, matched)


def write_siglip2(folder: Path) -> None:
    """Write google/siglip2-*'s, of any size: a `tokenizer.json` of Gemma and settings that name `GemmaTokenizer`."""
    _gemma().save(str(folder / "tokenizer.json"))
    special = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    added = {
        str(number): _matched(token) | {"special": number < 4}
        for number, token in enumerate(["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<table>"])
    }
    settings: dict[str, Any] = special | {
        "add_bos_token": False,
        "add_eos_token": True,
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": False,
        "do_lower_case": True,
        "model_input_names": ["input_ids"],
        "model_max_length": 64,
        "padding_side": "right",
        "processor_class": "SiglipProcessor",
        "sp_model_kwargs": {},
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "use_default_system_prompt": False,
    }
    _write(folder, settings, {role: _matched(token) for role, token in special.items()})


WRITERS: dict[str, Callable[[Path], None]] = {
    "clip": write_clip,
    "clip_text": write_clip,
    "clipseg": write_clip,
    "siglip": write_siglip,
    "siglip_text": write_siglip,
    "siglip2": write_siglip2,
    "siglip2_text": write_siglip2,
    "siglip2_fixed": write_siglip2,
}
"""By the names of the models in `conftest.py`."""


@cache
def spiece(**options: Any) -> bytes:
    """Return a `spiece.model`, by default of SigLIP's kind: unigram, normalized by "nmt_nfkc", with its ids."""
    written = BytesIO()
    settings: dict[str, Any] = {
        "model_type": "unigram",
        "vocab_size": 300,
        "pad_id": 0,
        "eos_id": 1,
        "unk_id": 2,
        "bos_id": -1,
        # transformers 4 turns it off whatever the file says. It decides the rounding of scores.
        "add_dummy_prefix": transformers.__version__ >= "5",
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=written,
        hard_vocab_limit=False,
        minloglevel=2,
        **settings | options,
    )
    return written.getvalue()


def _gemma() -> Tokenizer:
    """Return byte pairs of whole texts, with bytes for what is unknown, as transformers converts Gemma's."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))  # noqa: S106 - no secret
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE,
        special_tokens=[*special, "<mask>", "<table>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    # What the trainer calls special is matched in texts; a byte isn't.
    kept = json.loads(tokenizer.to_str())
    kept["added_tokens"] = []
    tokenizer = Tokenizer.from_str(json.dumps(kept))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ("<mask>", "<table>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <eos>", special_tokens=[("<eos>", 1)])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def _matched(token: str, *, lstrip: bool = False, rstrip: bool = False) -> dict[str, Any]:
    return {"content": token, "lstrip": lstrip, "normalized": False, "rstrip": rstrip, "single_word": False}


def _write(folder: Path, settings: dict[str, Any], special: dict[str, Any]) -> None:
    for name, content in (("tokenizer_config.json", settings), ("special_tokens_map.json", special)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
