"""The vision towers of public checkpoints in their true sizes, with seeded random weights."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

__all__ = [
    "CLIP_BIGG_14",
    "CLIP_B_16",
    "CLIP_B_32",
    "CLIP_H_14",
    "CLIP_H_14_378",
    "CLIP_L_14",
    "CLIP_L_14_336",
    "DINOV2_B_14",
    "DINOV2_S_14",
    "DINOV3_B_16",
    "DINOV3_S_16",
    "MOBILECLIP2_S0",
    "MOBILECLIP2_S2",
    "SIGLIP2_NAFLEX_SO400M_16",
    "SIGLIP_B_16",
    "SIGLIP_B_16_256",
    "SIGLIP_SO400M_14_384",
    "OpenClipTower",
    "Tower",
    "TransformersTower",
]

_HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True, kw_only=True)
class Tower(ABC):
    """The shape of a checkpoint's vision tower.

    Attributes:
        side: Height and width in pixels of the images that it is measured with.
        dimension: Length of a vector.
    """

    side: int
    dimension: int

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of parameters."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write a checkpoint of seeded random weights."""


@dataclass(frozen=True, kw_only=True)
class TransformersTower(Tower):
    """A tower of transformers.

    Attributes:
        network: Name of its class.
        config: What differs from the defaults of the class's config.
        processor: Settings of the image processor; the default resizes to a square of `side` pixels.
    """

    network: str
    config: Mapping[str, Any] = field(hash=False)
    processor: Mapping[str, Any] | None = field(default=None, hash=False)

    @cached_property
    def parameters(self) -> int:
        """Number of parameters, counted on a tower without memory."""
        with torch.device("meta"):
            return count(self._build())

    def save(self, folder: Path) -> None:
        """Write a checkpoint of seeded random weights, which has the vision tower only."""
        torch.manual_seed(0)
        self._build().save_pretrained(folder)
        square = {"size": {"height": self.side, "width": self.side}, "do_center_crop": False}
        processor = self.processor or {**square, "image_mean": _HALF, "image_std": _HALF}
        (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")

    def _build(self) -> Any:
        network = getattr(transformers, self.network)
        return network(network.config_class(**self.config))


@dataclass(frozen=True, kw_only=True)
class OpenClipTower(Tower):
    """A tower that the package open_clip builds.

    Attributes:
        name: What open_clip calls the model.
    """

    name: str

    @cached_property
    def parameters(self) -> int:
        """Number of parameters of the vision tower."""
        return count(self._build().visual)

    def save(self, folder: Path) -> None:
        """Write a checkpoint in open_clip's format, texts included."""
        import open_clip
        from safetensors.torch import save_file

        torch.manual_seed(0)
        tensors = {name: tensor.contiguous() for name, tensor in self._build().state_dict().items()}
        config = {
            "model_cfg": open_clip.get_model_config(self.name),
            "preprocess_cfg": {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)},
        }
        folder.mkdir()
        save_file(tensors, folder / "open_clip_model.safetensors")
        (folder / "open_clip_config.json").write_text(json.dumps(config), "utf-8")

    def _build(self) -> Any:
        import open_clip

        return open_clip.create_model(self.name)


def count(model: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in model.parameters())


def _vit(width: int, depth: int, heads: int, mlp: int | None = None) -> dict[str, Any]:
    sizes = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
    return {**sizes, "intermediate_size": mlp or 4 * width}


def _clip(shape: Mapping[str, Any], patch: int, dimension: int, side: int = 224) -> TransformersTower:
    config = {**shape, "patch_size": patch, "projection_dim": dimension, "image_size": side}
    return TransformersTower(side=side, dimension=dimension, network="CLIPVisionModelWithProjection", config=config)


def _siglip(shape: Mapping[str, Any], patch: int, side: int) -> TransformersTower:
    config = {**shape, "patch_size": patch, "image_size": side}
    return TransformersTower(side=side, dimension=shape["hidden_size"], network="SiglipVisionModel", config=config)


def _naflex(shape: Mapping[str, Any], patch: int, patches: int) -> TransformersTower:
    return TransformersTower(
        side=int(patches**0.5) * patch,
        dimension=shape["hidden_size"],
        network="Siglip2VisionModel",
        config={**shape, "patch_size": patch, "num_patches": patches},
        processor={
            "image_processor_type": "Siglip2ImageProcessor",
            "patch_size": patch,
            "max_num_patches": patches,
            "image_mean": _HALF,
            "image_std": _HALF,
        },
    )


def _dinov2(shape: Mapping[str, Any]) -> TransformersTower:
    config = {name: value for name, value in shape.items() if name != "intermediate_size"}
    config |= {"image_size": 518, "patch_size": 14}
    return TransformersTower(side=224, dimension=shape["hidden_size"], network="Dinov2Model", config=config)


def _dinov3(shape: Mapping[str, Any]) -> TransformersTower:
    config = {**shape, "num_register_tokens": 4}
    return TransformersTower(side=224, dimension=shape["hidden_size"], network="DINOv3ViTModel", config=config)


_SMALL, _BASE, _LARGE = _vit(384, 12, 6), _vit(768, 12, 12), _vit(1024, 24, 16)
_HUGE, _BIGG, _SO400M = _vit(1280, 32, 16), _vit(1664, 48, 16, 8192), _vit(1152, 27, 16, 4304)

CLIP_B_32 = _clip(_BASE, 32, 512)
CLIP_B_16 = _clip(_BASE, 16, 512)
CLIP_L_14 = _clip(_LARGE, 14, 768)
CLIP_L_14_336 = _clip(_LARGE, 14, 768, 336)
CLIP_H_14 = _clip(_HUGE, 14, 1024)
CLIP_H_14_378 = _clip(_HUGE, 14, 1024, 378)
CLIP_BIGG_14 = _clip(_BIGG, 14, 1280)
SIGLIP_B_16 = _siglip(_BASE, 16, 224)
SIGLIP_B_16_256 = _siglip(_BASE, 16, 256)
SIGLIP_SO400M_14_384 = _siglip(_SO400M, 14, 384)
SIGLIP2_NAFLEX_SO400M_16 = _naflex(_SO400M, 16, 256)
DINOV2_S_14 = _dinov2(_SMALL)
DINOV2_B_14 = _dinov2(_BASE)
DINOV3_S_16 = _dinov3(_SMALL)
DINOV3_B_16 = _dinov3(_BASE)
MOBILECLIP2_S0 = OpenClipTower(side=256, dimension=512, name="MobileCLIP2-S0")
MOBILECLIP2_S2 = OpenClipTower(side=256, dimension=512, name="MobileCLIP2-S2")
