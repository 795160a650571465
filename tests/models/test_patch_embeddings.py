"""Which layer takes over mean and std, and towers in which there is none or more than one."""

from __future__ import annotations

import pytest
from torch import nn

from clip_image_encoder import PixelFormat
from clip_image_encoder.errors import ContractError
from clip_image_encoder.models._patches import take_bytes

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
