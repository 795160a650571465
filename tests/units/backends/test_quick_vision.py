"""Vision towers as the CPU and graphs run them: the features of the plain towers, of less work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.models import VisionTower
from clip_image_encoder.models._attention import Attend, blocked, fused, products
from clip_image_encoder.models._patches import take_bytes
from tests.units.checkpoint.open_clip_files import MODEL_CFG
from tests.units.checkpoint.open_clip_files import save as save_open_clip

from .conftest import Saved, tower_of
from .families import PIXEL_FORMAT

CLIPS = ["altclip", "chinese_clip", "clip", "clip_vision", "clipseg", "metaclip2"]


@pytest.mark.parametrize("attend", [fused, blocked, products])
@pytest.mark.parametrize("output", ["pooled", "tokens"])
@torch.inference_mode()
def test_every_familys_features_are_the_same(
    each: Saved, attend: Attend, output: str, pixels: NDArray[np.uint8]
) -> None:
    plain, quick = tower_of(each), tower_of(each)
    quick.become_quick(attend)
    images = torch.from_numpy(pixels)
    torch.testing.assert_close(quick(images, output), plain(images, output), rtol=1e-5, atol=1e-5)


def lengths_at(tower: VisionTower, layer: int) -> list[int]:
    """Return the list to which the number of tokens that the MLP of a layer is given comes at each call."""
    model: Any = tower.model
    lengths: list[int] = []

    def note(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        lengths.append(arguments[0].shape[:-1].numel())

    model.vision_model.encoder.layers[layer].mlp.register_forward_pre_hook(note)
    return lengths


@pytest.mark.parametrize("name", CLIPS)
@torch.inference_mode()
def test_the_last_layer_computes_the_class_token_alone(
    save: Callable[..., Saved], name: str, pixels: NDArray[np.uint8]
) -> None:
    tower = tower_of(save(name))
    tower.become_quick(fused)
    first, last = lengths_at(tower, 0), lengths_at(tower, -1)
    tower(torch.from_numpy(pixels), "pooled")
    assert first[0] > last[0] == len(pixels)


@pytest.mark.parametrize("output", ["pooled", "tokens"])
@pytest.mark.parametrize(
    "vision",
    [
        {"pool_type": "tok"},
        {"pool_type": "tok", "final_ln_after_pool": True},
        {"pool_type": "avg"},
        {"pool_type": "avg", "final_ln_after_pool": True},
        {"no_ln_pre": True},
    ],
)
@torch.inference_mode()
def test_open_clips_poolings_give_the_plain_towers_features(
    vision: dict[str, Any], output: str, tmp_path: Path
) -> None:
    save_open_clip(tmp_path, {**MODEL_CFG, "vision_cfg": {**MODEL_CFG["vision_cfg"], **vision}})
    checkpoint = open_checkpoint(tmp_path)
    plain, quick = (checkpoint.vision.load(checkpoint.weights(torch.float32)) for _ in range(2))
    for tower in (plain, quick):
        take_bytes(tower, PIXEL_FORMAT)
    quick.become_quick(fused)
    height, width = checkpoint.vision.image_size
    images = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
    torch.testing.assert_close(quick(images, output), plain(images, output), rtol=1e-5, atol=1e-5)
