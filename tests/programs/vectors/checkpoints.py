"""Checkpoints of every family, as transformers saves them: small, with weights from a seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    Siglip2Config,
    Siglip2Model,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from clip_image_encoder.checkpoint import open_checkpoint

_SMALL: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
_SHAPE = _SMALL | {"intermediate_size": 40}
_WIDE = {"hidden_size": 512, "num_hidden_layers": 1, "num_attention_heads": 8, "intermediate_size": 2048}
_VISION = _SHAPE | {"image_size": 32, "patch_size": 8}
_VISION2 = _SHAPE | {"num_patches": 16, "patch_size": 8}
_DINO = _SMALL | {"image_size": 32, "patch_size": 8, "mlp_ratio": 2}
_TEXT = {"vocab_size": 4096, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

_MODELS: dict[str, Callable[[], Any]] = {
    "clip": lambda: CLIPModel(CLIPConfig(text_config=_SHAPE | _TEXT, vision_config=_VISION, projection_dim=16)),
    "clip-wide": lambda: CLIPModel(
        CLIPConfig(text_config=_WIDE | _TEXT, vision_config=_VISION | _WIDE, projection_dim=256)
    ),
    "clip-vision": lambda: CLIPVisionModel(CLIPVisionConfig(**_VISION)),
    "siglip": lambda: SiglipModel(SiglipConfig(text_config=_SHAPE | _TEXT, vision_config=_VISION)),
    "siglip-headless": lambda: SiglipVisionModel(SiglipVisionConfig(**_VISION, vision_use_head=False)),
    "siglip2": lambda: Siglip2Model(Siglip2Config(text_config=_SHAPE | _TEXT, vision_config=_VISION2)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(**_DINO)),
    "dinov2-swiglu": lambda: Dinov2Model(Dinov2Config(**_DINO, use_swiglu_ffn=True)),
    "dinov2-resized": lambda: Dinov2Model(Dinov2Config(**_DINO)),
    "vit": lambda: ViTModel(ViTConfig(**_VISION)),
}
NAMES = ("tiny-shapes", *_MODELS)

_PROCESSORS = {"clip": "CLIP", "siglip": "Siglip", "siglip2": "Siglip2", "dinov2": "Bit", "vit": "ViT"}


def make_checkpoint(name: str, root: Path) -> str:
    """Return a checkpoint's folder below the root, after making it if it isn't there."""
    if name == "tiny-shapes":
        return name
    folder = root / name
    if not (folder / "preprocessor_config.json").exists():
        torch.manual_seed(3)
        model = _MODELS[name]().eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        model.save_pretrained(folder)
        _add_tokenizer(folder)
        kind = _PROCESSORS[name.partition("-")[0]]
        size = {"height": 48, "width": 40} if name == "dinov2-resized" else {"height": 32, "width": 32}
        processor = {
            "image_processor_type": f"{kind}ImageProcessor",
            "do_resize": True,
            "size": size,
            "do_center_crop": False,
            "resample": 3,
            "image_mean": [0.48, 0.46, 0.41],
            "image_std": [0.27, 0.26, 0.28],
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(folder)


def _add_tokenizer(folder: Path) -> None:
    """Copy the bundled tokenizer, whose ids are all below the towers' 4096."""
    source = open_checkpoint("tiny-shapes").tokenizer_folder()
    for file in source.glob("*.json"):
        if "token" in file.name or file.name in ("vocab.json", "merges.txt"):
            (folder / file.name).write_bytes(file.read_bytes())
    for file in source.glob("merges.txt"):
        (folder / file.name).write_bytes(file.read_bytes())
