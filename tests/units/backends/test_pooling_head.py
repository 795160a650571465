"""SigLIP's pooling head as the CPU computes it: the same features, of tokens that are not moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clip_image_encoder.backends._pooling_head import make_heads_quick

from .conftest import Saved, tower_of


@torch.inference_mode()
def test_it_gives_the_same_features(save: Callable[..., Saved], pixels: NDArray[np.uint8]) -> None:
    plain, quick = tower_of(save("siglip")), tower_of(save("siglip"))
    make_heads_quick(quick)
    assert not any(isinstance(module, nn.MultiheadAttention) for module in quick.modules())
    images = torch.from_numpy(pixels)
    torch.testing.assert_close(quick(images, "pooled"), plain(images, "pooled"), rtol=1e-5, atol=1e-6)


@torch.inference_mode()
def test_the_tokens_are_multiplied_as_they_lie_in_memory(save: Callable[..., Saved], pixels: NDArray[np.uint8]) -> None:
    tower: Any = tower_of(save("siglip"))
    make_heads_quick(tower)
    (attention,) = (module.attention for module in tower.modules() if hasattr(module, "probe"))
    seen: list[bool] = []

    def note(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0].is_contiguous())

    attention.key_value.register_forward_pre_hook(note)
    tower(torch.from_numpy(pixels), "pooled")
    assert seen == [True]


@pytest.mark.parametrize("name", ["clip", "siglip2"])
def test_a_tower_without_such_a_head_stays_as_it_is(name: str, save: Callable[..., Saved]) -> None:
    tower = tower_of(save(name))
    before = [type(module) for module in tower.modules()]
    make_heads_quick(tower)
    assert [type(module) for module in tower.modules()] == before
