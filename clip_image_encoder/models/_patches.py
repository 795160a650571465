"""uint8 pixels straight into the patch embedding, whose weights take over mean and std, or normalized before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.errors import ContractError
from clip_image_encoder.models._towers import VisionTower

__all__ = ["denormalized", "take_bytes"]

_GREY = 128.0
"""Taken off the pixels first: whole numbers up to 128 are exact in every dtype, and values about 0 lose little."""


def denormalized(pixels: Tensor, pixel_format: PixelFormat) -> Tensor:
    """Return `(n, H, W, 3)` in 0..255, in float32, for normalized pixels `(n, 3, H, W)`."""
    means, stds = (
        torch.tensor(values, dtype=torch.float32, device=pixels.device)
        for values in (pixel_format.mean, pixel_format.std)
    )
    scaled: Tensor = (pixels.permute(0, 2, 3, 1) * stds + means) * 255
    return scaled


class PatchLinear(nn.Module):
    """The linear layer of normalized patches as one of patches in 0..255.

    Normalizing is linear: `w * (x / 255 - mean) / std` is another weight times `x - 128`, and a constant. That saves
    two passes over the pixels.

    Args:
        weight: `(d, positions, channels)`.
        bias: `(d,)`, or None.
        pixel_format: How the tower was trained to see its pixels normalized.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, pixel_format: PixelFormat) -> None:
        super().__init__()
        exact, deviations = weight.double(), torch.tensor(pixel_format.std, dtype=torch.float64)
        grey = (_GREY / 255 - torch.tensor(pixel_format.mean, dtype=torch.float64)) / deviations
        constant = (exact * grey).sum(dim=(1, 2)) + (0 if bias is None else bias.double())
        # Divided by 255, many weights would be too small for float16; scaled by a power of two, nothing else changes.
        self.unit = _GREY if weight.dtype is torch.float16 else 1.0
        scaled = exact * (self.unit / 255) / deviations
        self.linear = nn.Linear(weight[0].numel(), len(weight), device="meta")
        self.linear.weight = nn.Parameter(scaled.flatten(1).to(weight.dtype), requires_grad=False)
        self.linear.bias = nn.Parameter(constant.to(weight.dtype), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The dtype of these is what transformers turns the pixels into."""
        return self.linear.weight

    def forward(self, patches: Tensor) -> Tensor:
        """Return `(n, patches, d)` for `(n, patches, values)` in 0..255."""
        centered = patches.to(self.weight.dtype) - _GREY
        embedded: Tensor = self.linear(centered if self.unit == 1 else centered / self.unit)
        return embedded


class PatchEmbedding(PatchLinear):
    """A convolution over patches that don't overlap as one matrix product, of pixels from `cut_to_image`."""

    def __init__(self, convolution: nn.Conv2d, pixel_format: PixelFormat) -> None:
        super().__init__(convolution.weight.permute(0, 2, 3, 1).flatten(1, 2), convolution.bias, pixel_format)
        self.size = convolution.kernel_size[0]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return `(n, d, rows, columns)` for `(n, 3, H, W)` in 0..255."""
        count, channels, height, width = pixels.shape
        rows, columns = height // self.size, width // self.size
        length = self.size * self.size * channels
        patches = pixels.flatten(1)[:, : rows * columns * length].reshape(count, rows * columns, length)
        embedded: Tensor = super().forward(patches).transpose(1, 2).unflatten(2, (rows, columns))
        return embedded


class Normalized(nn.Module):
    """Pixels as a network was trained to see them, in front of a network that can't take over mean and std.

    Args:
        pixel_format: How it was trained to see them normalized.
        dtype: Of the network's weights.
    """

    def __init__(self, pixel_format: PixelFormat, dtype: torch.dtype) -> None:
        super().__init__()
        means, stds = (torch.tensor(values, dtype=torch.float64) for values in (pixel_format.mean, pixel_format.std))
        self.scale, self.shift = nn.Buffer((1 / (255 * stds)).float()), nn.Buffer((-means / stds).float())
        self.dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        """Return `(n, 3, H, W)` for `(n, H, W, 3)` in 0..255."""
        normalized = pixels.to(torch.float32) * self.scale + self.shift
        return normalized.permute(0, 3, 1, 2).to(self.dtype)


@torch.no_grad()
def take_bytes(model: nn.Module, pixel_format: PixelFormat) -> None:
    """Change a vision model in place, so that it takes values in 0..255.

    Its patch embedding takes them from `cut`, unless the model is a tower that asks for normalized pixels.

    Args:
        model: on the CPU, with its weights.
        pixel_format: How the model was trained to see its pixels normalized.

    Raises:
        ContractError: Which layer sees the patches first is not known, or it is no layer of separate patches.
    """
    if isinstance(model, VisionTower) and model.pixels == "normalized":
        model.prepared = Normalized(pixel_format, next(model.parameters()).dtype)
        return
    found = [
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        if isinstance(child, nn.Conv2d) or (name == "patch_embedding" and isinstance(child, nn.Linear))
    ]
    if len(found) != 1:
        count = f"{len(found)} layers" if found else "no patch embedding"
        raise ContractError(
            f"the vision tower has {count}, to normalize the pixels; exactly one layer has to be an nn.Conv2d, or an "
            "nn.Linear named patch_embedding, or the VisionTower is made with pixels='normalized'"
        )
    ((module, name, layer),) = found
    setattr(module, name, _of_bytes(layer, pixel_format))


def _of_bytes(layer: Any, pixel_format: PixelFormat) -> nn.Module:
    """Return a patch embedding that takes values in 0..255 for one that takes normalized ones."""
    if isinstance(layer, nn.Linear):
        return PatchLinear(layer.weight.unflatten(1, (-1, 3)), layer.bias, pixel_format)
    height, width = layer.kernel_size
    if height != width or layer.stride != layer.kernel_size or layer.padding not in ((0, 0), "valid"):
        raise ContractError(
            f"the vision tower's patches must be squares that don't overlap, without padding: {layer}; "
            "a VisionTower of others is made with pixels='normalized'"
        )
    return PatchEmbedding(layer, pixel_format)
