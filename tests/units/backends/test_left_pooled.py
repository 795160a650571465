"""Towers whose last layer works on the class token alone, as they are exported where only "pooled" is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.models import VisionTower
from clip_image_encoder.models._patches import take_bytes

from .conftest import Saved
from .families import PIXEL_FORMAT

CLIPS = ["altclip", "chinese_clip", "clip", "clip_vision", "clipseg", "metaclip2"]


@pytest.fixture(params=CLIPS)
def tower(request: pytest.FixtureRequest, save: Callable[..., Saved]) -> VisionTower:
    checkpoint = open_checkpoint(save(request.param).folder)
    loaded = checkpoint.vision.load(checkpoint.weights(torch.float32)).eval()
    take_bytes(loaded, PIXEL_FORMAT)
    return loaded


@torch.inference_mode()
def test_it_gives_the_same_vectors_of_less_work(tower: VisionTower, pixels: NDArray[np.uint8]) -> None:
    lengths: list[int] = []

    def note(module: nn.Module, arguments: tuple[Any, ...], result: Tensor) -> None:
        lengths.append(result.shape[1])

    images = torch.from_numpy(pixels)
    model: Any = tower.model
    model.vision_model.encoder.layers[-1].mlp.register_forward_hook(note)
    expected = tower(images, "pooled")
    assert tower.leave_pooled
    tower.leave_pooled(model)
    torch.testing.assert_close(tower(images, "pooled"), expected, rtol=1e-5, atol=1e-6)
    assert lengths[0] > 1
    assert lengths[1] == 1
