"""A small random model of each supported architecture, and what transformers itself computes with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor, nn
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
    CLIPSegForImageSegmentation,
    CLIPSegModel,
    CLIPSegVisionConfig,
    CLIPSegVisionModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    MetaClip2Config,
    MetaClip2Model,
    MetaClip2VisionConfig,
    MetaClip2VisionModel,
    MetaClip2VisionModelWithProjection,
    Siglip2Config,
    Siglip2Model,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTForImageClassification,
    ViTModel,
)

from clip_image_encoder.arrays import PixelFormat

IMAGE_SIZE, PATCH_SIZE, PATCHES = 32, 8, 16
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)
PIXEL_FORMAT = PixelFormat(size=(IMAGE_SIZE, IMAGE_SIZE), mean=MEAN, std=STD)

_TRANSFORMER: dict[str, Any] = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
_SHAPE = _TRANSFORMER | {"intermediate_size": 40}
_VISION = _SHAPE | {"image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE}
_VISION2 = _SHAPE | {"num_patches": PATCHES, "patch_size": PATCH_SIZE}
_DINO = _TRANSFORMER | {"image_size": IMAGE_SIZE, "patch_size": PATCH_SIZE, "mlp_ratio": 2}
_DINO3 = _VISION | {"num_register_tokens": 2}
_LABELS: dict[str, Any] = {"num_labels": 3}
_TEXT = _SHAPE | {
    "vocab_size": 60,
    "max_position_embeddings": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_BERT = _SHAPE | {"vocab_size": 60, "max_position_embeddings": 8}
_ROBERTA = _BERT | {"max_position_embeddings": 10, "project_dim": 20}
_CONVOLUTIONS: dict[str, Any] = {
    "image_size": IMAGE_SIZE,
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "kernel_sizes": [3, 5, 3],
    "in_channels": [32, 8, 8],
    "out_channels": [8, 8, 16],
    "strides": [1, 2, 2],
    "num_block_repeats": [1, 2, 1],
    "expand_ratios": [1, 2, 2],
    "depthwise_padding": [3],
}


@dataclass(frozen=True)
class Family:
    """One kind of checkpoint.

    Attributes:
        name: what the test is called.
        make: makes the model, with transformers' own random weights.
        pooled: computes its pooled features from normalized pixels `(n, 3, H, W)`.
        dimension: length of a vector.
        tokens: number of tokens of an image; 0 where it gives none.
        exported: whether each runtime runs it in the tests, at the cost of two exports; one that computes the same
            as another, under other names, needn't be.
    """

    name: str
    make: Callable[[], Any]
    pooled: Callable[[Any, Tensor], Tensor]
    dimension: int = 24
    tokens: int = 1 + PATCHES
    exported: bool = True

    def reference(self, model: nn.Module, pixels: Tensor) -> NDArray[np.float32]:
        """Return what transformers' own model makes of normalized pixels."""
        with torch.inference_mode():
            features: NDArray[np.float32] = self.pooled(model, pixels).numpy()
        return features


def patches_of(pixels: Tensor) -> dict[str, Tensor]:
    """Cut normalized pixels `(n, 3, H, W)` into what SigLIP 2 takes, a patch at a time."""
    rows, columns = pixels.shape[2] // PATCH_SIZE, pixels.shape[3] // PATCH_SIZE
    patches = [
        pixels[:, :, top : top + PATCH_SIZE, left : left + PATCH_SIZE].permute(0, 2, 3, 1).flatten(1)
        for top in range(0, rows * PATCH_SIZE, PATCH_SIZE)
        for left in range(0, columns * PATCH_SIZE, PATCH_SIZE)
    ]
    return {
        "pixel_values": torch.stack(patches, dim=1),
        "pixel_attention_mask": torch.ones(len(pixels), rows * columns, dtype=torch.int64),
        "spatial_shapes": torch.tensor([[rows, columns]] * len(pixels)),
    }


def normalize(pixels: NDArray[np.uint8]) -> Tensor:
    """Return `(n, H, W, 3)` uint8 as normalized `(n, 3, H, W)` float32."""
    scaled = (pixels.astype(np.float64) / 255 - np.array(MEAN)) / np.array(STD)
    return torch.from_numpy(scaled.astype(np.float32).transpose(0, 3, 1, 2).copy())


def scramble(model: nn.Module, seed: int = 0) -> None:
    """Give every weight a number of its own, norms and biases too, so that no two can be mistaken."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.copy_(noise + 1 if name.endswith("norm.weight") else noise)
    model.eval()


def _clip_vision() -> CLIPVisionConfig:
    return CLIPVisionConfig(**_VISION, projection_dim=16)


def _with_statistics(model: Any) -> Any:
    """Return a model whose batch norms have seen something."""
    generator = torch.Generator().manual_seed(0)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return model


def _clipseg() -> CLIPSegConfig:
    return CLIPSegConfig(
        text_config=_TEXT, vision_config=_VISION, projection_dim=16, extract_layers=[0, 1], reduce_dim=8
    )


def _image_features(model: Any, pixels: Tensor) -> Tensor:
    """Return what transformers compares with texts; its version 5 has it in an output of several."""
    features = model.get_image_features(pixel_values=pixels)
    vectors: Tensor = getattr(features, "pooler_output", features)
    return vectors


FAMILIES = [
    Family(
        "clip",
        lambda: CLIPModel(CLIPConfig(text_config=_TEXT, vision_config=_VISION, projection_dim=16)),
        lambda model, pixels: model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output),
        dimension=16,
    ),
    Family(
        "clip_vision_with_projection",
        lambda: CLIPVisionModelWithProjection(_clip_vision()),
        lambda model, pixels: model(pixel_values=pixels).image_embeds,
        dimension=16,
        exported=False,
    ),
    Family(
        "clip_vision",
        lambda: CLIPVisionModel(_clip_vision()),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
    ),
    Family(
        "chinese_clip",
        lambda: ChineseCLIPModel(ChineseCLIPConfig(text_config=_BERT, vision_config=_VISION, projection_dim=16)),
        _image_features,
        dimension=16,
        exported=False,
    ),
    Family(
        "chinese_clip_vision",
        lambda: ChineseCLIPVisionModel(ChineseCLIPVisionConfig(**_VISION)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        exported=False,
    ),
    Family(
        "altclip",
        lambda: AltCLIPModel(AltCLIPConfig(text_config=_ROBERTA, vision_config=_VISION, projection_dim=16)),
        _image_features,
        dimension=16,
        exported=False,
    ),
    Family(
        "altclip_vision",
        lambda: AltCLIPVisionModel(AltCLIPVisionConfig(**_VISION)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        exported=False,
    ),
    Family(
        "clipseg",
        lambda: CLIPSegForImageSegmentation(_clipseg()),
        lambda model, pixels: _image_features(model.clip, pixels),
        dimension=16,
        exported=False,
    ),
    Family("clipseg_clip", lambda: CLIPSegModel(_clipseg()), _image_features, dimension=16, exported=False),
    Family(
        "clipseg_vision",
        lambda: CLIPSegVisionModel(CLIPSegVisionConfig(**_VISION)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        exported=False,
    ),
    Family(
        "blip",
        lambda: BlipForImageTextRetrieval(
            BlipConfig(text_config=_BERT, vision_config=_VISION, image_text_hidden_size=16)
        ),
        lambda model, pixels: model.vision_proj(model.vision_model(pixel_values=pixels).last_hidden_state[:, 0]),
        dimension=16,
    ),
    Family(
        "align",
        lambda: _with_statistics(
            AlignModel(AlignConfig(text_config=_BERT, vision_config=_CONVOLUTIONS, projection_dim=16))
        ),
        _image_features,
        dimension=16,
        tokens=0,
        # OpenVINO can't read what is exported of version 4's.
        exported=transformers.__version__ >= "5",
    ),
    Family(
        "align_vision",
        lambda: _with_statistics(AlignVisionModel(AlignVisionConfig(**_CONVOLUTIONS, pooling_type="max"))),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        dimension=16,
        tokens=0,
        exported=False,
    ),
    Family(
        "siglip",
        lambda: SiglipModel(SiglipConfig(text_config=_TEXT, vision_config=_VISION)),
        lambda model, pixels: model.vision_model(pixel_values=pixels).pooler_output,
        tokens=PATCHES,
    ),
    Family(
        "siglip_vision",
        lambda: SiglipVisionModel(SiglipVisionConfig(**_VISION)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        tokens=PATCHES,
        exported=False,
    ),
    Family(
        "siglip2",
        lambda: Siglip2Model(Siglip2Config(text_config=_TEXT, vision_config=_VISION2)),
        lambda model, pixels: _siglip2_tower(model)(**patches_of(pixels)).pooler_output,
        tokens=PATCHES,
    ),
    Family(
        "siglip2_vision",
        lambda: Siglip2VisionModel(Siglip2VisionConfig(**_VISION2)),
        lambda model, pixels: model(**patches_of(pixels)).pooler_output,
        tokens=PATCHES,
        exported=False,
    ),
    Family(
        "dinov2",
        lambda: Dinov2Model(Dinov2Config(**_DINO)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
    ),
    Family(
        "dinov2_swiglu",
        lambda: Dinov2Model(Dinov2Config(**_DINO, use_swiglu_ffn=True)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
    ),
    Family(
        "dinov2_classifier",
        lambda: Dinov2ForImageClassification(Dinov2Config(**_DINO, **_LABELS)),
        lambda model, pixels: model.dinov2(pixel_values=pixels).pooler_output,
        exported=False,
    ),
    Family(
        "dinov2_registers",
        lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**_DINO, num_register_tokens=2)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        tokens=1 + 2 + PATCHES,
    ),
    Family(
        "dinov2_registers_swiglu",
        lambda: Dinov2WithRegistersModel(
            Dinov2WithRegistersConfig(**_DINO, num_register_tokens=2, use_swiglu_ffn=True)
        ),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        tokens=1 + 2 + PATCHES,
        exported=False,
    ),
    Family(
        "dinov2_registers_classifier",
        lambda: Dinov2WithRegistersForImageClassification(
            Dinov2WithRegistersConfig(**_DINO, **_LABELS, num_register_tokens=2)
        ),
        lambda model, pixels: model.dinov2_with_registers(pixel_values=pixels).pooler_output,
        tokens=1 + 2 + PATCHES,
        exported=False,
    ),
    Family(
        "dinov3",
        lambda: DINOv3ViTModel(DINOv3ViTConfig(**_DINO3)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        tokens=1 + 2 + PATCHES,
    ),
    Family(
        "dinov3_gated",
        lambda: DINOv3ViTModel(DINOv3ViTConfig(**_DINO3, use_gated_mlp=True, hidden_act="silu")),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        tokens=1 + 2 + PATCHES,
        exported=False,
    ),
    Family(
        "metaclip2",
        lambda: MetaClip2Model(MetaClip2Config(text_config=_TEXT, vision_config=_VISION, projection_dim=16)),
        lambda model, pixels: model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output),
        dimension=16,
        exported=False,
    ),
    Family(
        "metaclip2_vision_with_projection",
        lambda: MetaClip2VisionModelWithProjection(MetaClip2VisionConfig(**_VISION, projection_dim=16)),
        lambda model, pixels: model(pixel_values=pixels).image_embeds,
        dimension=16,
        exported=False,
    ),
    Family(
        "metaclip2_vision",
        lambda: MetaClip2VisionModel(MetaClip2VisionConfig(**_VISION)),
        lambda model, pixels: model(pixel_values=pixels).pooler_output,
        exported=False,
    ),
    Family(
        "vit",
        lambda: ViTModel(ViTConfig(**_VISION)),
        lambda model, pixels: model(pixel_values=pixels).last_hidden_state[:, 0],
    ),
    Family(
        "vit_classifier",
        lambda: ViTForImageClassification(ViTConfig(**_VISION, **_LABELS)),
        lambda model, pixels: model.vit(pixel_values=pixels).last_hidden_state[:, 0],
        exported=False,
    ),
]


def _siglip2_tower(model: Siglip2Model) -> Callable[..., Any]:
    """Return the tower by the names of its arguments, which the two major versions spell differently."""
    tower: Any = model.vision_model

    def run(pixel_values: Tensor, pixel_attention_mask: Tensor, spatial_shapes: Tensor) -> Any:
        return tower(pixel_values, pixel_attention_mask, spatial_shapes)

    return run
