"""The vision towers of transformers behind one face: normalised pixels in, pooled or tokens out."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    CLIPVisionModelWithProjection,
    Dinov2Model,
    Siglip2VisionModel,
    SiglipVisionModel,
    ViTModel,
)

from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.checkpoint.weights import build, load_weights, stored_names
from clip_image_encoder.protocols import Output

__all__ = ["VisionTower", "load_vision_tower"]


class ClipTower(nn.Module):
    """CLIP (Radford et al. 2021): the class token, normalised and projected."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: CLIPVisionModelWithProjection(config))
        self.dimension: int = config.projection_dim
        load_weights(self.model.vision_model, checkpoint.files, prefixes=("vision_model.", ""), dtype=dtype)
        if "visual_projection.weight" in stored_names(checkpoint.files):
            load_weights(self.model.visual_projection, checkpoint.files, prefixes=("visual_projection.",), dtype=dtype)
        else:  # saved from CLIPVisionModel: its vectors are as wide as the tower
            self.model.add_module("visual_projection", nn.Identity())
            self.dimension = config.hidden_size

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, 1 + patches, d)` for normalised pixels `(n, 3, H, W)`."""
        features = self.model.vision_model(pixel_values=pixels)
        if output == "pooled":
            return cast("Tensor", self.model.visual_projection(features.pooler_output))
        tokens = self.model.vision_model.post_layernorm(features.last_hidden_state)
        return cast("Tensor", self.model.visual_projection(tokens))


class SiglipTower(nn.Module):
    """SigLIP (Zhai et al. 2023): an attention head over the patches; there is no class token."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: SiglipVisionModel(config))
        self.dimension: int = config.hidden_size
        # transformers 4 wraps the tower once, 5 doesn't; the files have either spelling.
        tower = getattr(self.model, "vision_model", self.model)
        load_weights(tower, checkpoint.files, prefixes=("vision_model.", ""), dtype=dtype)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, patches, d)` for normalised pixels `(n, 3, H, W)`."""
        features = self.model(pixel_values=pixels)
        return cast("Tensor", features.pooler_output if output == "pooled" else features.last_hidden_state)


class Siglip2Tower(nn.Module):
    """SigLIP 2 for any aspect ratio (Tschannen et al. 2025), run on a square grid of patches."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: Siglip2VisionModel(config))
        self.dimension: int = config.hidden_size
        self.patch_size: int = config.patch_size
        tower = getattr(self.model, "vision_model", self.model)
        load_weights(tower, checkpoint.files, prefixes=("vision_model.", ""), dtype=dtype)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, patches, d)` for normalised pixels `(n, 3, H, W)`."""
        size = self.patch_size
        count, channels, height, width = pixels.shape
        rows, columns = height // size, width // size
        grid = pixels.reshape(count, channels, rows, size, columns, size)
        patches = grid.permute(0, 2, 4, 3, 5, 1).reshape(count, rows * columns, size * size * channels)
        shapes = torch.tensor([[rows, columns]], device=pixels.device).expand(count, 2)
        features = self.model(pixel_values=patches, pixel_attention_mask=None, spatial_shapes=shapes)
        return cast("Tensor", features.pooler_output if output == "pooled" else features.last_hidden_state)


class Dinov2Tower(nn.Module):
    """DINOv2 (Oquab et al. 2023): the class token after the last layer norm."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: Dinov2Model(config))
        self.dimension: int = config.hidden_size
        load_weights(self.model, checkpoint.files, prefixes=("dinov2.", ""), dtype=dtype)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, 1 + patches, d)` for normalised pixels `(n, 3, H, W)`."""
        tokens = self.model(pixel_values=pixels).last_hidden_state
        return cast("Tensor", tokens[:, 0] if output == "pooled" else tokens)


class VitTower(nn.Module):
    """ViT (Dosovitskiy et al. 2020): the class token after the last layer norm."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: ViTModel(config, add_pooling_layer=False))
        self.dimension: int = config.hidden_size
        load_weights(self.model, checkpoint.files, prefixes=("vit.", ""), dtype=dtype)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, 1 + patches, d)` for normalised pixels `(n, 3, H, W)`."""
        tokens = self.model(pixel_values=pixels).last_hidden_state
        return cast("Tensor", tokens[:, 0] if output == "pooled" else tokens)


VisionTower = ClipTower | SiglipTower | Siglip2Tower | Dinov2Tower | VitTower


def load_vision_tower(checkpoint: Checkpoint, dtype: torch.dtype, device: str) -> VisionTower:
    """Load the vision tower of a checkpoint onto a device.

    Raises:
        CheckpointError: the weights are missing, damaged or of another model.
    """
    tower: type[VisionTower]
    match checkpoint.vision.family:
        case "clip":
            tower = ClipTower
        case "siglip":
            tower = SiglipTower
        case "siglip2":
            tower = Siglip2Tower
        case "dinov2":
            tower = Dinov2Tower
        case "vit":
            tower = VitTower
    return tower(checkpoint, dtype).to(device)
