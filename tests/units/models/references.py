"""transformers' own model for each `model_type` of each family: tiny ones, and such with the default sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AlignConfig,
    AlignModel,
    AlignVisionConfig,
    AlignVisionModel,
    AltCLIPConfig,
    AltCLIPModel,
    AltCLIPVisionConfig,
    AltCLIPVisionModel,
    BlipConfig,
    BlipForImageTextRetrieval,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    ChineseCLIPVisionConfig,
    ChineseCLIPVisionModel,
    CLIPConfig,
    CLIPModel,
    CLIPSegConfig,
    CLIPSegModel,
    CLIPSegVisionConfig,
    CLIPSegVisionModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    MetaClip2Config,
    MetaClip2Model,
    MetaClip2TextConfig,
    MetaClip2VisionConfig,
    MetaClip2VisionModelWithProjection,
    Siglip2Config,
    Siglip2Model,
    Siglip2TextConfig,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

from tests.units.backends.families import IMAGE_SIZE, MEAN, PATCH_SIZE, PATCHES, STD

_NARROW: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
_CONVOLUTIONS: dict[str, Any] = {"width_coefficient": 0.1, "depth_coefficient": 0.1}
_STATISTICS = {"image_mean": list(MEAN), "image_std": list(STD)}
_SQUARE = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
# What transformers calls a vision tower inside of a larger model.
_TOWERS = ("vision_model", "dinov2", "dinov2_with_registers", "vit")
_CROPPED = _STATISTICS | {"size": {"shortest_edge": IMAGE_SIZE}, "crop_size": _SQUARE}


@dataclass(frozen=True, kw_only=True)
class Vision:
    """The vision tower of transformers that a `model_type` stands for.

    Attributes:
        names: What `tests.units.backends.families` calls tiny models that are saved under this `model_type`.
        tokens: Computes the class token and the patches in the space of the vectors, `(n, tokens, d)`, from
            normalized pixels `(n, 3, H, W)`; `no_tokens` where there are none.
        default: Makes a model of which everything but widths and depth is transformers' default.
        processor: Name of the image processor that such checkpoints come with.
        settings: Those of the processor at the tiny models' size.
    """

    names: tuple[str, ...]
    tokens: Callable[[Any, Tensor], Tensor]
    default: Callable[[], Any]
    processor: str
    settings: dict[str, Any] = field(default_factory=lambda: _CROPPED)


@dataclass(frozen=True, kw_only=True)
class Text:
    """The text tower of transformers that a `model_type` stands for.

    Attributes:
        name: What `tests.units.text.conftest` calls a tiny model that is saved under this `model_type`.
        default: Makes the tower's configuration of transformers' defaults.
        room: What is missing from its number of positions to the tokens of a text.
    """

    name: str
    default: Callable[[], Any]
    room: int = 0


def no_tokens(model: Any, pixels: Tensor) -> Tensor:
    """Stand for the tokens of a network that has none."""
    raise AssertionError("it was asked for tokens")


def _clip(model: Any, pixels: Tensor) -> Tensor:
    model = getattr(model, "clip", model)
    tower = getattr(model, "vision_model", model)
    tokens: Tensor = tower.post_layernorm(tower(pixel_values=pixels).last_hidden_state)
    return model.visual_projection(tokens) if hasattr(model, "visual_projection") else tokens


def _plain(model: Any, pixels: Tensor) -> Tensor:
    tower = next((getattr(model, name) for name in _TOWERS if hasattr(model, name)), model)
    tokens: Tensor = tower(pixel_values=pixels).last_hidden_state
    return tokens


def _siglip2(model: Any, pixels: Tensor) -> Tensor:
    tower = getattr(model, "vision_model", model)
    size = tower.config.patch_size
    grid = pixels.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 4, 5, 1)
    count, rows, columns = grid.shape[:3]
    mask = torch.ones(count, rows * columns, dtype=torch.int64)
    # The two major versions of transformers call the arguments differently.
    tokens: Tensor = tower(
        grid.flatten(3).flatten(1, 2), mask, torch.tensor([[rows, columns]] * count)
    ).last_hidden_state
    return tokens


def _blip(model: Any, pixels: Tensor) -> Tensor:
    tokens: Tensor = model.vision_proj(model.vision_model(pixel_values=pixels).last_hidden_state)
    return tokens


VISION = {
    "clip": Vision(
        names=("clip",),
        tokens=_clip,
        default=lambda: CLIPModel(CLIPConfig(text_config=_NARROW, vision_config=_NARROW)),
        processor="CLIPImageProcessor",
    ),
    "clip_vision_model": Vision(
        names=("clip_vision_with_projection",),
        tokens=_clip,
        default=lambda: CLIPVisionModelWithProjection(CLIPVisionConfig(**_NARROW)),
        processor="CLIPImageProcessor",
    ),
    "chinese_clip": Vision(
        names=("chinese_clip",),
        tokens=_clip,
        default=lambda: ChineseCLIPModel(ChineseCLIPConfig(text_config=_NARROW, vision_config=_NARROW)),
        processor="ChineseCLIPImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE, "do_center_crop": False},
    ),
    "chinese_clip_vision_model": Vision(
        names=("chinese_clip_vision",),
        tokens=_clip,
        default=lambda: ChineseCLIPVisionModel(ChineseCLIPVisionConfig(**_NARROW)),
        processor="ChineseCLIPImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE, "do_center_crop": False},
    ),
    "altclip": Vision(
        names=("altclip",),
        tokens=_clip,
        default=lambda: AltCLIPModel(AltCLIPConfig(text_config=_NARROW, vision_config=_NARROW)),
        processor="CLIPImageProcessor",
    ),
    "altclip_vision_model": Vision(
        names=("altclip_vision",),
        tokens=_clip,
        default=lambda: AltCLIPVisionModel(AltCLIPVisionConfig(**_NARROW)),
        processor="CLIPImageProcessor",
    ),
    "clipseg": Vision(
        names=("clipseg", "clipseg_clip"),
        tokens=_clip,
        default=lambda: CLIPSegModel(CLIPSegConfig(text_config=_NARROW, vision_config=_NARROW)),
        processor="ViTImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE},
    ),
    "clipseg_vision_model": Vision(
        names=("clipseg_vision",),
        tokens=_clip,
        default=lambda: CLIPSegVisionModel(CLIPSegVisionConfig(**_NARROW)),
        processor="ViTImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE},
    ),
    "blip": Vision(
        names=("blip",),
        tokens=_blip,
        default=lambda: BlipForImageTextRetrieval(BlipConfig(text_config=_NARROW, vision_config=_NARROW)),
        processor="BlipImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE},
    ),
    "align": Vision(
        names=("align",),
        tokens=no_tokens,
        default=lambda: AlignModel(AlignConfig(text_config=_NARROW, vision_config=_CONVOLUTIONS)),
        processor="EfficientNetImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE, "resample": 3, "include_top": False},
    ),
    "align_vision_model": Vision(
        names=("align_vision",),
        tokens=no_tokens,
        default=lambda: AlignVisionModel(AlignVisionConfig(**_CONVOLUTIONS)),
        processor="EfficientNetImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE, "resample": 3, "include_top": False},
    ),
    "dinov2": Vision(
        names=("dinov2", "dinov2_swiglu", "dinov2_classifier"),
        tokens=_plain,
        default=lambda: Dinov2Model(Dinov2Config(**_NARROW)),
        processor="BitImageProcessor",
    ),
    "dinov2_with_registers": Vision(
        names=("dinov2_registers", "dinov2_registers_swiglu", "dinov2_registers_classifier"),
        tokens=_plain,
        default=lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**_NARROW)),
        processor="BitImageProcessor",
    ),
    "dinov3_vit": Vision(
        names=("dinov3", "dinov3_gated"),
        tokens=_plain,
        default=lambda: DINOv3ViTModel(DINOv3ViTConfig(**_NARROW)),
        processor="ViTImageProcessor",  # DINOv3's own needs torchvision; it takes the same steps, on floats
        settings=_STATISTICS | {"size": _SQUARE},
    ),
    "siglip": Vision(
        names=("siglip",),
        tokens=_plain,
        default=lambda: SiglipModel(SiglipConfig(text_config=_NARROW, vision_config=_NARROW)),
        processor="SiglipImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE},
    ),
    "siglip_vision_model": Vision(
        names=("siglip_vision",),
        tokens=_plain,
        default=lambda: SiglipVisionModel(SiglipVisionConfig(**_NARROW)),
        processor="SiglipImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE},
    ),
    "siglip2": Vision(
        names=("siglip2",),
        tokens=_siglip2,
        default=lambda: Siglip2Model(Siglip2Config(text_config=_NARROW, vision_config=_NARROW)),
        processor="Siglip2ImageProcessor",
        settings=_STATISTICS | {"patch_size": PATCH_SIZE, "max_num_patches": PATCHES},
    ),
    "siglip2_vision_model": Vision(
        names=("siglip2_vision",),
        tokens=_siglip2,
        default=lambda: Siglip2VisionModel(Siglip2VisionConfig(**_NARROW)),
        processor="Siglip2ImageProcessor",
        settings=_STATISTICS | {"patch_size": PATCH_SIZE, "max_num_patches": PATCHES},
    ),
    "metaclip_2": Vision(
        names=("metaclip2",),
        tokens=_clip,
        default=lambda: MetaClip2Model(MetaClip2Config(text_config=_NARROW, vision_config=_NARROW)),
        processor="CLIPImageProcessor",
    ),
    "metaclip_2_vision_model": Vision(
        names=("metaclip2_vision_with_projection",),
        tokens=_clip,
        default=lambda: MetaClip2VisionModelWithProjection(MetaClip2VisionConfig(**_NARROW)),
        processor="CLIPImageProcessor",
    ),
    "vit": Vision(
        names=("vit", "vit_classifier"),
        tokens=_plain,
        default=lambda: ViTModel(ViTConfig(**_NARROW)),
        processor="ViTImageProcessor",
        settings=_STATISTICS | {"size": _SQUARE},
    ),
}
"""By `model_type`; a family's file whose vision towers are not here fails a test."""

TEXT = {
    "clip": Text(name="clip", default=lambda: CLIPConfig().text_config),
    "clip_text_model": Text(name="clip_text", default=CLIPTextConfig),
    "chinese_clip": Text(name="chinese_clip", default=lambda: ChineseCLIPConfig().text_config),
    "altclip": Text(name="altclip", default=lambda: AltCLIPConfig().text_config, room=2),
    "clipseg": Text(name="clipseg", default=lambda: CLIPSegConfig().text_config),
    "blip": Text(name="blip", default=lambda: BlipConfig().text_config),
    "align": Text(name="align", default=lambda: AlignConfig().text_config, room=512 - 64),
    "siglip": Text(name="siglip", default=lambda: SiglipConfig().text_config),
    "siglip_text_model": Text(name="siglip_text", default=SiglipTextConfig),
    "siglip2": Text(name="siglip2", default=lambda: Siglip2Config().text_config),
    "siglip2_text_model": Text(name="siglip2_text", default=Siglip2TextConfig),
    "metaclip_2": Text(name="metaclip2", default=lambda: MetaClip2Config().text_config),
    "metaclip_2_text_model": Text(name="metaclip2_text", default=MetaClip2TextConfig),
}
"""By `model_type`; a family's file whose text towers are not here fails a test."""
