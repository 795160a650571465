"""The vision towers of transformers behind one face: pixels as they come in, pooled or tokens out."""

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

from clip_image_encoder.backends._patches import cut, cut_in_place, take_bytes
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.checkpoint._spec import has_projection
from clip_image_encoder.checkpoint._weights import build, load_weights, stored_names
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.protocols import Output

__all__ = ["VisionTower", "check_image_size", "load_vision_tower"]


class ClipTower(nn.Module):
    """CLIP (Radford et al. 2021): the class token, normalised and projected."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: CLIPVisionModelWithProjection(config))
        self.dimension: int = config.projection_dim
        self.patch_size: int = config.patch_size
        load_weights(self.model.vision_model, checkpoint.files, prefixes=("vision_model.", ""), dtype=dtype)
        if has_projection(checkpoint.config) or "visual_projection.weight" in stored_names(checkpoint.files):
            load_weights(self.model.visual_projection, checkpoint.files, prefixes=("visual_projection.",), dtype=dtype)
        else:  # saved from CLIPVisionModel: its vectors are as wide as the tower
            self.model.add_module("visual_projection", nn.Identity())
            self.dimension = config.hidden_size

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, 1 + patches, d)` for pixels `(n, H, W, 3)` in 0..255."""
        features = self.model.vision_model(pixel_values=cut_in_place(pixels, self.patch_size))
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
        self.patch_size: int = config.patch_size
        # transformers 4 wraps the tower once, 5 doesn't; the files have either spelling.
        tower = getattr(self.model, "vision_model", self.model)
        load_weights(tower, checkpoint.files, prefixes=("vision_model.", ""), dtype=dtype)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, patches, d)` for pixels `(n, H, W, 3)` in 0..255."""
        features = self.model(pixel_values=cut_in_place(pixels, self.patch_size))
        return cast("Tensor", features.pooler_output if output == "pooled" else features.last_hidden_state)


class Siglip2Tower(nn.Module):
    """SigLIP 2 for any aspect ratio (Tschannen et al. 2025), run on a square grid of patches."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: Siglip2VisionModel(config))
        self.dimension: int = config.hidden_size
        self.patch_size: int = config.patch_size
        tower: Any = getattr(self.model, "vision_model", self.model)
        load_weights(tower, checkpoint.files, prefixes=("vision_model.", ""), dtype=dtype)
        tower.embeddings = _GridEmbeddings(tower.embeddings)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, patches, d)` for pixels `(n, H, W, 3)` in 0..255."""
        patches = cut(pixels, self.patch_size)
        grid = (pixels.shape[1] // self.patch_size, pixels.shape[2] // self.patch_size)
        model: Any = self.model
        features = model(pixel_values=patches, pixel_attention_mask=None, spatial_shapes=grid)
        return cast("Tensor", features.pooler_output if output == "pooled" else features.last_hidden_state)


class _GridEmbeddings(nn.Module):
    """SigLIP 2's embeddings of pictures that all have the same grid.

    transformers resizes the positions for each picture by itself, in a loop or with checks that can't be exported.
    """

    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        self.patch_embedding: nn.Module = embeddings.patch_embedding
        self.position_embedding: nn.Embedding = embeddings.position_embedding

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return `(n, patches, d)` for `(n, patches, values)` in `grid` rows and columns."""
        positions = self.position_embedding.weight
        side = int(len(positions) ** 0.5)
        if grid != (side, side):
            square = positions.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
            resized = nn.functional.interpolate(square, grid, mode="bilinear", align_corners=False, antialias=True)
            positions = resized.flatten(2)[0].T.to(positions.dtype)
        embedded: Tensor = self.patch_embedding(patches) + positions
        return embedded


class Dinov2Tower(nn.Module):
    """DINOv2 (Oquab et al. 2023): the class token after the last layer norm."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: Dinov2Model(config))
        self.dimension: int = config.hidden_size
        self.patch_size: int = config.patch_size
        load_weights(self.model, checkpoint.files, prefixes=("dinov2.", ""), dtype=dtype)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, 1 + patches, d)` for pixels `(n, H, W, 3)` in 0..255."""
        tokens = self.model(pixel_values=cut_in_place(pixels, self.patch_size)).last_hidden_state
        return cast("Tensor", tokens[:, 0] if output == "pooled" else tokens)


class VitTower(nn.Module):
    """ViT (Dosovitskiy et al. 2020): the class token after the last layer norm."""

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype) -> None:
        super().__init__()
        config: Any = checkpoint.vision.config
        self.model = build(lambda: ViTModel(config, add_pooling_layer=False))
        self.dimension: int = config.hidden_size
        self.patch_size: int = config.patch_size
        load_weights(self.model, checkpoint.files, prefixes=("vit.", ""), dtype=dtype)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return `(n, d)` or `(n, 1 + patches, d)` for pixels `(n, H, W, 3)` in 0..255."""
        tokens = self.model(pixel_values=cut_in_place(pixels, self.patch_size)).last_hidden_state
        return cast("Tensor", tokens[:, 0] if output == "pooled" else tokens)


VisionTower = ClipTower | SiglipTower | Siglip2Tower | Dinov2Tower | VitTower


def load_vision_tower(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    *,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> VisionTower:
    """Load the vision tower of a checkpoint, onto the CPU.

    Args:
        checkpoint: whose tower it is.
        dtype: of its weights.
        mean: of the normalisation that the checkpoint was trained with, of pixels in 0..1.
        std: the same.

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
    loaded = tower(checkpoint, dtype)
    take_bytes(loaded, mean, std)
    return loaded


def check_image_size(checkpoint: Checkpoint, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the `(height, width)` that a tower takes: the one asked for, or the one it was trained at.

    Raises:
        ConfigurationError: it doesn't take pixels of this size.
    """
    spec = checkpoint.vision
    if image_size is None or image_size == spec.image_size:
        return spec.image_size
    if spec.any_size and all(side % spec.patch_size == 0 for side in image_size):
        return image_size
    wanted = f"multiples of {spec.patch_size}" if spec.any_size else f"{spec.image_size}"
    raise ConfigurationError(f"{checkpoint.name} takes pixels of size {wanted}, the preprocess makes {image_size}")
