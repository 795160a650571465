"""Which layer takes over mean and std, and towers in which there is none or more than one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clip_image_encoder import PixelFormat
from clip_image_encoder.errors import ContractError
from clip_image_encoder.models import VisionTower
from clip_image_encoder.models._patches import denormalized, take_bytes

HALF = (0.5, 0.5, 0.5)
PIXEL_FORMAT = PixelFormat(size=(32, 32), mean=HALF, std=HALF)


def test_a_tower_without_a_patch_embedding_is_refused() -> None:
    """Its pixels would reach it without having been normalized."""
    with pytest.raises(ContractError, match="no patch embedding"):
        take_bytes(nn.Sequential(nn.Linear(192, 8)), PIXEL_FORMAT)


def test_a_tower_with_a_second_convolution_is_refused() -> None:
    """Its input are features, and would be taken for pixels."""
    convolutions = nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.Conv2d(8, 8, 2, 2))
    with pytest.raises(ContractError, match="2 layers"):
        take_bytes(convolutions, PIXEL_FORMAT)


@pytest.mark.parametrize("stride", [4, (8, 4)])
def test_patches_that_overlap_are_refused(stride: int | tuple[int, int]) -> None:
    with pytest.raises(ContractError, match="overlap"):
        take_bytes(nn.Sequential(nn.Conv2d(3, 8, 8, stride)), PIXEL_FORMAT)


def test_small_weights_keep_their_digits_in_float16() -> None:
    """Divided by 255 and by a deviation, they would be below float16's smallest normal number."""
    layer = nn.Conv2d(3, 16, 8, 8, bias=False)
    layer.weight.data = (torch.randn(layer.weight.shape, generator=torch.Generator().manual_seed(0)) / 2000).half()
    exact = layer.weight.data.double().permute(0, 2, 3, 1).flatten(1) / 0.5 / 255
    network = nn.Sequential(layer)
    take_bytes(network, PIXEL_FORMAT)
    changed: Any = network[0]
    difference = changed.weight.double() / changed.unit - exact
    assert difference.norm() / exact.norm() < 1e-3


def as_it_is(model: Any, pixels: Tensor, output: str) -> Tensor:
    return pixels


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tower_that_begins_otherwise_is_given_normalized_pixels_in_the_dtype_of_its_weights(
    dtype: torch.dtype,
) -> None:
    """Its convolutions overlap, and are more than one; none of them is changed."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.Conv2d(8, 8, 3)).to(dtype)
    tower = VisionTower(network, as_it_is, dimension=8, pixels="normalized")
    pixel_format = PixelFormat(size=(4, 6), mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28))
    take_bytes(tower, pixel_format)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    exact = (pixels / 255 - np.array(pixel_format.mean)) / np.array(pixel_format.std)
    expected = torch.from_numpy(exact).permute(0, 3, 1, 2)
    seen = tower(torch.from_numpy(pixels), "pooled")
    assert seen.dtype is dtype
    assert [type(layer) for layer in network] == [nn.Conv2d, nn.Conv2d]
    tolerance = 1e-6 if dtype is torch.float32 else 1e-2
    torch.testing.assert_close(seen.double(), expected, rtol=tolerance, atol=tolerance)
    again = tower(denormalized(seen, pixel_format), "pooled")
    torch.testing.assert_close(again, seen, rtol=tolerance, atol=tolerance)
