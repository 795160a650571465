"""Folders as open_clip writes them: seeded random models of every kind of tower, with the files of their tokenizers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
from open_clip.push_to_hf_hub import save_for_hf
from open_clip.tokenizer import SimpleTokenizer
from transformers import BertTokenizer, CLIPTokenizer

from tests.units.text.tokenizer_files import SIZE, write_siglip2

__all__ = ["MODELS", "NATIVE", "THROUGH", "Model", "save"]

_IMAGES: dict[str, Any] = {"image_size": 32, "patch_size": 8, "width": 48, "head_width": 16, "layers": 2}
_TEXTS: dict[str, Any] = {"width": 32, "heads": 2, "layers": 2}
_LAST: dict[str, Any] = {"no_causal_mask": True, "pool_type": "last"}
_BERT: dict[str, Any] = {"vocab_size": 64, "context_length": 16, "hf_tokenizer_name": "bert-base-uncased"}
_GEMMA: dict[str, Any] = {
    "vocab_size": SIZE,
    "context_length": 16,
    "hf_tokenizer_name": "timm/ViT-B-16-SigLIP2",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "norm_kwargs": {"eps": 1e-6},
}
_HALVES = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "resize_mode": "squash"}


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a checkpoint is made from.

    Attributes:
        vision: Its `vision_cfg`.
        text: Its `text_cfg`.
        others: Further keys of its `model_cfg`.
        images: Its `preprocess_cfg`.
    """

    vision: dict[str, Any]
    text: dict[str, Any]
    others: dict[str, Any]
    images: dict[str, Any]


def _model(
    vision: dict[str, Any] | None = None,
    text: dict[str, Any] | None = None,
    *,
    images: dict[str, Any] | None = None,
    **others: Any,
) -> Model:
    own = _IMAGES if vision is None or "timm_model_name" not in vision else {}
    return Model(
        vision={**own, **(vision or {})},
        text={**_TEXTS, **(text or {})},
        others={"embed_dim": 24, **others},
        images=images or {},
    )


def _timm(name: str, size: int, *, pool: str = "avg", proj: str | None = None) -> dict[str, Any]:
    return {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "timm_pool": pool,
        "timm_proj": proj,
        "image_size": size,
    }


_COCA = {"attentional_pool": True, "attn_pooler_heads": 4, "output_tokens": True}

NATIVE = {
    "vit": _model(),
    "quick_gelu": _model(quick_gelu=True),
    "wide_mlp": _model({"mlp_ratio": 4.9231}),
    "clipa": _model(
        {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True},
        {**_BERT, **_LAST, "tokenizer_kwargs": {"strip_sep_token": True}, "act_kwargs": {"approximate": "tanh"}},
        images={"interpolation": "bilinear", "resize_mode": "squash", "mean": (0.485, 0.456, 0.406)},
    ),
    "average": _model({"pool_type": "avg", "norm_kwargs": {"eps": 1e-3}}, {"pool_type": "first"}),
    "longest": _model(images={"resize_mode": "longest", "fill_color": 128, "interpolation": "bilinear"}),
    "named_tokenizer": _model(text={**_BERT, "pool_type": "eos", "eos_id": 3}),
    "custom_text": _model(text={"proj_bias": True, "mlp_ratio": 3.0}, custom_text=True, init_logit_bias=-10),
    "bidirectional": _model(text={"no_causal_mask": True}, custom_text=True),
    "siglip": _model(
        _timm("vit_base_patch16_siglip_224", 224, pool="map", proj="none"),
        {**_GEMMA, **_LAST, "proj_bias": True},
        images=_HALVES,
        embed_dim=768,
        custom_text=True,
        init_logit_bias=-10,
    ),
    "siglip2": _model(
        _timm("vit_base_patch32_siglip_256", 256, pool="map", proj="none"),
        {**_GEMMA, **_LAST, "proj_type": "none", "act_kwargs": {"approximate": "tanh"}, "width": 768},
        images=_HALVES,
        embed_dim=768,
        custom_text=True,
        init_logit_bias=-10,
    ),
}
THROUGH = {
    "resnet": _model({"layers": [1, 1, 1, 1], "width": 16, "image_size": 64, "head_width": 16}),
    "mobileclip": _model(_timm("fastvit_mci0", 256), {"no_causal_mask": True}, custom_text=True),
    "eva02": _model(_timm("eva02_tiny_patch14_224", 224, pool="token"), custom_text=True),
    "perception_encoder": _model(_timm("vit_pe_core_tiny_patch16_384", 384, pool="map"), custom_text=True),
    "convnext": _model(_timm("convnext_atto", 224, pool="", proj="mlp")),
    "vitamin": _model(_timm("vitamin_small_224", 224, pool="", proj="linear"), custom_text=True),
    "layer_scale": _model({"ls_init_value": 0.5}, {"ls_init_value": 0.5}),
    "coca": _model(
        _COCA,
        {"embed_cls": True, "output_tokens": True, "context_length": 20},
        custom_text=True,
        multimodal_cfg={"width": 24, "context_length": 20, "heads": 2, "layers": 1, "attn_pooler_heads": 2},
    ),
}
MODELS = {**NATIVE, **THROUGH}


def save(model: Model, folder: Path) -> Any:
    """Write a checkpoint as open_clip does, and return the model."""
    config = {**model.others, "vision_cfg": model.vision, "text_cfg": model.text}
    torch.manual_seed(0)
    with TemporaryDirectory() as place:
        (Path(place) / "drawn.json").write_text(json.dumps(config))
        open_clip.add_model_config(Path(place) / "drawn.json")
        made: Any = open_clip.create_model("drawn", force_preprocess_cfg=model.images, output_dict=False)
    _scramble(made)
    folder.mkdir()
    save_for_hf(made, _Tokenizer(model.text.get("hf_tokenizer_name")), config, str(folder), safe_serialization=True)
    return made.eval()


def _scramble(model: torch.nn.Module) -> None:
    """Give what starts out as 0 or 1, such as layer norms, other numbers, so that none can stand for another."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)


class _Tokenizer:
    """Writes a tokenizer's files, as open_clip's `HFTokenizer` does through transformers."""

    def __init__(self, name: str | None) -> None:
        self._name = name or ""

    def save_pretrained(self, folder: str) -> None:
        if "SigLIP2" in self._name:
            write_siglip2(Path(folder))
        elif "bert" in self._name:
            _bert(folder)
        else:
            _clip().save_pretrained(folder)


@cache
def _clip() -> Any:
    """Return openai/clip-vit-large-patch14's tokenizer, whose vocabulary is open_clip's under other special tokens."""
    simple = SimpleTokenizer()
    vocabulary = dict(simple.encoder)
    vocabulary["<|startoftext|>"] = vocabulary.pop("<start_of_text>")
    vocabulary["<|endoftext|>"] = vocabulary.pop("<end_of_text>")
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
    with TemporaryDirectory() as place:
        (Path(place) / "vocab.json").write_text(json.dumps(vocabulary))
        (Path(place) / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n")
        load: Any = CLIPTokenizer.from_pretrained
        return load(place)


def _bert(folder: str) -> None:
    words = ["a", "red", "blue", "circle", "star", "photo", "of", "two", "dogs", "it", "s", "'", ".", ",", "!", "1"]
    letters = [chr(code) for code in range(ord("b"), ord("z"))]
    known = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words, *letters, "##s", "##e", "##a"])
    path = Path(folder) / "vocab.txt"
    path.write_text("\n".join(known))
    load: Any = BertTokenizer
    load(vocab_file=str(path), vocab={word: number for number, word in enumerate(known)}).save_pretrained(folder)
