"""Checkpoints in open_clip's format, made of transformers' models.

Those that open_clip itself writes are in tests/promises/beside_open_clip.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from tests.units.text.tokenizer_files import CLIP_SIZE, write_clip

__all__ = ["CLIP", "MODEL_CFG", "save", "save_both"]

MODEL_CFG: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 48, "head_width": 16, "layers": 2},
    "text_cfg": {"context_length": 16, "vocab_size": CLIP_SIZE, "width": 32, "heads": 2, "layers": 2},
}
CLIP = CLIPConfig(
    projection_dim=24,
    vision_config={
        "image_size": 32,
        "patch_size": 8,
        "hidden_size": 48,
        "intermediate_size": 192,
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
    },
    text_config={
        "max_position_embeddings": 16,
        "vocab_size": CLIP_SIZE,
        "hidden_size": 32,
        "intermediate_size": 128,
        "num_attention_heads": 2,
        "num_hidden_layers": 2,
        "hidden_act": "gelu",
        "eos_token_id": CLIP_SIZE - 1,
        "bos_token_id": CLIP_SIZE - 2,
    },
)
_NAMES = (
    (r"^vision_model\.", "visual."),
    (r"^text_model\.", ""),
    (r"\bencoder\.layers\.", "transformer.resblocks."),
    (r"\bembeddings\.class_embedding$", "class_embedding"),
    (r"\bembeddings\.patch_embedding\.", "conv1."),
    (r"\bembeddings\.token_embedding\.", "token_embedding."),
    (r"\bembeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"\bpre_layrnorm\.", "ln_pre."),
    (r"\bpost_layernorm\.", "ln_post."),
    (r"\bfinal_layer_norm\.", "ln_final."),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)


def clip() -> CLIPModel:
    """Return a CLIP whose every tensor is random."""
    model: CLIPModel
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = CLIPModel(CLIP).eval()
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def save(folder: Path, model_cfg: dict[str, Any] = MODEL_CFG, *, tower: str = "") -> CLIPModel:
    """Write a checkpoint in open_clip's format, and return the model that it was made of.

    Args:
        folder: Is made where it is not there.
        model_cfg: What the config says.
        tower: What the names of the text tower's tensors start with: "text." where it has a class of its own.
    """
    folder.mkdir(exist_ok=True)
    model = clip()
    save_file(_tensors(model, tower), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}}))
    write_clip(folder)
    return model


def save_both(folder: Path) -> CLIPModel:
    """Write the same weights in open_clip's format and in transformers', as many repositories on the hub have them."""
    model = save(folder)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": 32, "crop_size": 32}))
    return model


def _tensors(model: CLIPModel, tower: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = model.state_dict()
    packed = r"(.*)\.self_attn\.q_proj\.(weight|bias)"
    made = {
        f"{_name(found[1], tower)}.attn.in_proj_{found[2]}": torch.cat(
            [state[f"{found[1]}.self_attn.{letter}_proj.{found[2]}"] for letter in "qkv"]
        )
        for found in filter(None, (re.fullmatch(packed, name) for name in state))
    }
    for name, tensor in state.items():
        if not re.search(r"\.[qkv]_proj\.|_projection\.|position_ids", name):
            made[_name(name, tower)] = tensor.contiguous()
    made["visual.proj"] = state["visual_projection.weight"].T.contiguous()
    made[f"{tower}text_projection"] = state["text_projection.weight"].T.contiguous()
    return made


def _name(name: str, tower: str) -> str:
    prefix = tower if name.startswith("text_model.") else ""
    for pattern, replacement in _NAMES:
        name = re.sub(pattern, replacement, name)
    return prefix + name
