"""What a family's load function does with the weights, and what it may forget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from clip_image_encoder.backends._cpu import make_quick
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import CheckpointError, ContractError
from clip_image_encoder.models import VisionTower, Weights, build


class Rotary(nn.Module):
    """A layer with a buffer that no file stores."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.ones(3), persistent=False)


def weights_of(module: nn.Module, folder: Path, **changed: Tensor) -> Weights:
    save_file(module.state_dict() | changed, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    return open_checkpoint(folder).weights(torch.bfloat16)


def features(model: Any, pixels: Tensor, output: str) -> Tensor:
    return pixels


def test_a_count_stays_a_whole_number(tmp_path: Path) -> None:
    norm = nn.BatchNorm1d(2)
    weights = weights_of(norm, tmp_path, num_batches_tracked=torch.tensor(70_001))
    filled = build(lambda: nn.BatchNorm1d(2))
    weights.fill(filled)
    assert filled.num_batches_tracked is not None
    assert filled.num_batches_tracked.item() == 70_001
    assert filled.weight.dtype is torch.bfloat16


def test_whole_numbers_in_the_place_of_weights_are_refused(tmp_path: Path) -> None:
    weights = weights_of(nn.Linear(2, 2), tmp_path, weight=torch.ones(2, 2, dtype=torch.int8))
    with pytest.raises(CheckpointError, match="'weight' is int8, of quantized weights"):
        weights.fill(build(lambda: nn.Linear(2, 2)))


def test_a_tower_with_a_buffer_that_was_forgotten_is_refused(tmp_path: Path) -> None:
    filled = build(Rotary)
    weights_of(Rotary(), tmp_path).fill(filled)
    with pytest.raises(ContractError, match="frequencies of a tower has no value"):
        VisionTower(filled, features, dimension=2)


def test_a_buffer_may_be_computed_after_the_weights(tmp_path: Path) -> None:
    filled = build(Rotary)
    weights_of(Rotary(), tmp_path).fill(filled)
    filled.frequencies = torch.ones(3)
    assert VisionTower(filled, features, dimension=2).dimension == 2


def test_a_tower_without_a_linear_layer_is_left_as_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 2, 2))
    make_quick(VisionTower(model, features, dimension=4))
    assert isinstance(model[0], nn.Conv2d)
