"""Patch embeddings that take bytes: mean and std are folded into their weights, or applied in front of the network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.errors import ContractError
from clip_image_encoder.models._towers import VisionTower, linear_of

__all__ = ["denormalized", "take_bytes"]

_GRAY = 128.0
"""Subtracted from the pixels first: integers up to 128 are exact in every dtype, and sums around 0 lose little."""


def denormalized(pixels: Tensor, pixel_format: PixelFormat) -> Tensor:
    """Return pixels `(n, H, W, 3)` in 0..255, as float32, of normalized pixels `(n, 3, H, W)`."""
    means, stds = (
        torch.tensor(values, dtype=torch.float32, device=pixels.device)
        for values in (pixel_format.mean, pixel_format.std)
    )
    scaled: Tensor = (pixels.permute(0, 2, 3, 1) * stds + means) * 255
    return scaled


class PatchLinear(nn.Module):
    """A linear layer over patches in 0..255, equal to a given layer over normalized patches.

    Normalizing is linear, so that the layer can take it over:

        w * (x / 255 - mean) / std  =  w / (255 * std) * (x - 128)  +  w * (128 / 255 - mean) / std

    The second term is the same for all images and goes into the bias. That saves two passes over the pixels.

    Args:
        weight: Weights of the given layer, `(d, positions, channels)`.
        bias: Bias of the given layer, `(d,)`, or None.
        pixel_format: Mean and std by which the tower's training normalized its pixels.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, pixel_format: PixelFormat) -> None:
        super().__init__()
        exact, deviations = weight.double(), torch.tensor(pixel_format.std, dtype=torch.float64)
        gray = (_GRAY / 255 - torch.tensor(pixel_format.mean, dtype=torch.float64)) / deviations
        constant = (exact * gray).sum(dim=(1, 2)) + (0 if bias is None else bias.double())
        # Divided by 255, many weights would be too small for float16. Multiplied by 128, they are not; the pixels are
        # divided by it, which rounds nothing, since it is a power of two.
        self.unit = _GRAY if weight.dtype is torch.float16 else 1.0
        scaled = exact * (self.unit / 255) / deviations
        self.linear = linear_of(scaled.flatten(1).to(weight.dtype), constant.to(weight.dtype))

    @property
    def weight(self) -> Tensor:
        """Weights of the layer; transformers converts the pixels to their dtype."""
        return self.linear.weight

    def forward(self, patches: Tensor) -> Tensor:
        """Return the embedded patches `(n, patches, d)` of patches `(n, patches, values)` in 0..255."""
        centered = patches.to(self.weight.dtype) - _GRAY
        embedded: Tensor = self.linear(centered if self.unit == 1 else centered / self.unit)
        return embedded


class PatchEmbedding(PatchLinear):
    """A convolution over patches that don't overlap, computed as one matrix product over pixels from `cut_to_image`.

    Args:
        convolution: Convolution over normalized pixels whose stride is its kernel size.
        pixel_format: Mean and std by which the tower's training normalized its pixels.
    """

    def __init__(self, convolution: nn.Conv2d, pixel_format: PixelFormat) -> None:
        # From (d, channels, row, column) to the order of `cut`: (d, row * column, channels).
        super().__init__(convolution.weight.permute(0, 2, 3, 1).flatten(1, 2), convolution.bias, pixel_format)
        self.size = convolution.kernel_size[0]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the embedded patches `(n, d, rows, columns)` of an output of `cut_to_image`, `(n, 3, H, W)`."""
        count, channels, height, width = pixels.shape
        rows, columns = height // self.size, width // self.size
        length = self.size * self.size * channels
        patches = pixels.flatten(1)[:, : rows * columns * length].reshape(count, rows * columns, length)
        embedded: Tensor = super().forward(patches).transpose(1, 2).unflatten(2, (rows, columns))
        return embedded


class Normalized(nn.Module):
    """Normalizes pixels in front of a network whose first layer can't take over mean and std.

    Args:
        pixel_format: Mean and std by which the network's training normalized its pixels.
        dtype: Dtype of the network's weights, which the pixels get.
    """

    def __init__(self, pixel_format: PixelFormat, dtype: torch.dtype) -> None:
        super().__init__()
        means, stds = (torch.tensor(values, dtype=torch.float64) for values in (pixel_format.mean, pixel_format.std))
        self.scale, self.shift = nn.Buffer((1 / (255 * stds)).float()), nn.Buffer((-means / stds).float())
        self.dtype = dtype

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the normalized pixels `(n, 3, H, W)` of pixels `(n, H, W, 3)` in 0..255."""
        normalized = pixels.to(torch.float32) * self.scale + self.shift
        return normalized.permute(0, 3, 1, 2).to(self.dtype)


@torch.no_grad()
def take_bytes(model: nn.Module, pixel_format: PixelFormat) -> None:
    """Change a vision model in place, so that it takes pixels in 0..255 and normalizes them itself.

    Its patch embedding is replaced by one that takes the values of `cut`. A tower that asks for normalized pixels gets
    a layer in front instead.

    Args:
        model: Vision model on the CPU, with its weights.
        pixel_format: Mean and std by which the model's training normalized its pixels.

    Raises:
        ContractError: The model has no single patch embedding, or its patches overlap, are padded or not square.
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
        count = f"{len(found)} layers that may be its patch embedding" if found else "no patch embedding"
        raise ContractError(
            f"the vision tower has {count}; exactly one layer must be an nn.Conv2d, or an nn.Linear named "
            "patch_embedding; for any other network make the VisionTower with pixels='normalized'"
        )
    ((module, name, layer),) = found
    setattr(module, name, _of_bytes(layer, pixel_format))


def _of_bytes(layer: Any, pixel_format: PixelFormat) -> nn.Module:
    """Return a patch embedding over pixels in 0..255 that equals one over normalized pixels."""
    if isinstance(layer, nn.Linear):
        return PatchLinear(layer.weight.unflatten(1, (-1, 3)), layer.bias, pixel_format)
    height, width = layer.kernel_size
    if height != width or layer.stride != layer.kernel_size or layer.padding not in ((0, 0), "valid"):
        raise ContractError(
            f"the vision tower's patches must be squares that don't overlap, without padding, not those of {layer}; "
            "for other patches make the VisionTower with pixels='normalized'"
        )
    return PatchEmbedding(layer, pixel_format)
