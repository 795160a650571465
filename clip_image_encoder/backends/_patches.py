"""uint8 pixels straight into the patch embedding: its weights take over mean and std."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["cut", "cut_in_place", "denormalised", "take_bytes"]

_GREY = 128.0
"""Taken off the pixels first: whole numbers up to 128 are exact in every dtype, and about 0 means little to lose."""


def cut(pixels: Tensor, size: int) -> Tensor:
    """Return the patches `(n, rows * columns, size * size * 3)` of pixels `(n, H, W, 3)`.

    Pixels beyond the last whole patch are left out, as by a convolution.
    """
    count, height, width, channels = pixels.shape
    rows, columns = height // size, width // size
    whole = pixels[:, : rows * size, : columns * size]
    grid = whole.reshape(count, rows, size, columns, size, channels).permute(0, 1, 3, 2, 4, 5)
    return grid.reshape(count, rows * columns, size * size * channels)


def cut_in_place(pixels: Tensor, size: int) -> Tensor:
    """Return the values of `cut`, then zeros, in the shape `(n, 3, H, W)`, which transformers checks.

    So they are cut while they are bytes, not when they are four times as large.
    """
    count, height, width, channels = pixels.shape
    values = cut(pixels, size).flatten(1)
    left_out = channels * height * width - values.shape[1]
    filled = nn.functional.pad(values, (0, left_out)) if left_out else values
    return filled.reshape(count, channels, height, width)


def denormalised(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Return `(n, H, W, 3)` in 0..255, in float32, for normalised pixels `(n, 3, H, W)`."""
    means, stds = (torch.tensor(values, dtype=torch.float32, device=pixels.device) for values in (mean, std))
    scaled: Tensor = (pixels.permute(0, 2, 3, 1) * stds + means) * 255
    return scaled


class PatchLinear(nn.Module):
    """The linear layer of normalised patches as one of patches in 0..255.

    Normalising is linear: `w * (x / 255 - mean) / std` is another weight times `x - 128`, and a constant. That saves
    two passes over the pixels.

    Args:
        weight: `(d, positions, channels)`.
        bias: `(d,)`, or None.
        mean: of each channel, in 0..1.
        std: the same.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        exact, deviations = weight.double(), torch.tensor(std, dtype=torch.float64)
        grey = (_GREY / 255 - torch.tensor(mean, dtype=torch.float64)) / deviations
        constant = (exact * grey).sum(dim=(1, 2)) + (0 if bias is None else bias.double())
        self.linear = nn.Linear(weight[0].numel(), len(weight), device="meta")
        self.linear.weight = nn.Parameter((exact / (255 * deviations)).flatten(1).to(weight.dtype), requires_grad=False)
        self.linear.bias = nn.Parameter(constant.to(weight.dtype), requires_grad=False)

    @property
    def weight(self) -> Tensor:
        """The dtype of these is what transformers turns the pixels into."""
        return self.linear.weight

    def forward(self, patches: Tensor) -> Tensor:
        """Return `(n, patches, d)` for `(n, patches, values)` in 0..255."""
        embedded: Tensor = self.linear(patches.to(self.weight.dtype) - _GREY)
        return embedded


class PatchEmbedding(PatchLinear):
    """A convolution over patches that don't overlap as one matrix product, of pixels from `cut_in_place`."""

    def __init__(self, convolution: nn.Conv2d, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(convolution.weight.permute(0, 2, 3, 1).flatten(1, 2), convolution.bias, mean, std)
        self.size = convolution.kernel_size[0]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return `(n, d, rows, columns)` for `(n, 3, H, W)` in 0..255."""
        count, channels, height, width = pixels.shape
        rows, columns = height // self.size, width // self.size
        length = self.size * self.size * channels
        patches = pixels.flatten(1)[:, : rows * columns * length].reshape(count, rows * columns, length)
        embedded: Tensor = super().forward(patches).transpose(1, 2).unflatten(2, (rows, columns))
        return embedded


@torch.no_grad()
def take_bytes(model: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    """Change a vision model in place, so that its patch embedding takes values in 0..255 from `cut`.

    Args:
        model: on the CPU, with its weights.
        mean: of the normalisation that it was trained with, of values in 0..1.
        std: the same.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            layer: Any = child
            if isinstance(child, nn.Conv2d):
                setattr(module, name, PatchEmbedding(layer, mean, std))
            elif name == "patch_embedding" and isinstance(child, nn.Linear):
                setattr(module, name, PatchLinear(layer.weight.unflatten(1, (-1, len(mean))), layer.bias, mean, std))
