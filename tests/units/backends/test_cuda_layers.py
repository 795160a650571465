"""The towers of CUDA devices, in fewer kernels: the same features, which is shown on the CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from clip_image_encoder.backends._cuda import OneProduct, join_kernels

from .conftest import Saved, tower_of


def joined_tower_of(saved: Saved, dtype: torch.dtype = torch.float32) -> nn.Module:
    tower = tower_of(saved, dtype)
    join_kernels(tower)
    return tower


class Kernels(TorchDispatchMode):
    """Counts the operators that would launch kernels."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func._schema.name != "aten::_unsafe_view":
            self.counts[func._schema.name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("output", ["pooled", "tokens"])
def test_every_familys_features_are_the_same_within_1e_5(each: Saved, output: str, pixels: NDArray[np.uint8]) -> None:
    with torch.inference_mode():
        images = torch.from_numpy(pixels)
        joined, plain = joined_tower_of(each)(images, output), tower_of(each)(images, output)
    torch.testing.assert_close(joined, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_loses_nothing_more(clip: Saved, dtype: torch.dtype, pixels: NDArray[np.uint8]) -> None:
    with torch.inference_mode():
        images = torch.from_numpy(pixels)
        exact = tower_of(clip)(images, "pooled")
        joined, plain = joined_tower_of(clip, dtype)(images, "pooled"), tower_of(clip, dtype)(images, "pooled")
    off_joined, off_plain = ((features.float() - exact).norm() for features in (joined, plain))
    assert off_joined <= 1.5 * off_plain


def test_a_layer_of_clip_saves_four_kernels(clip: Saved, pixels: NDArray[np.uint8]) -> None:
    with torch.inference_mode():
        images = torch.from_numpy(pixels)
        for tower in (plain := tower_of(clip), joined := joined_tower_of(clip)):
            tower(images, "pooled")  # what is made in the first call
        with Kernels() as before:
            plain(images, "pooled")
        with Kernels() as after:
            joined(images, "pooled")
    layers = sum(isinstance(module, OneProduct) for module in joined.modules())
    assert layers == 2
    # Two products of attention; two of the three kernels of QuickGELU.
    assert before.counts.total() - after.counts.total() == 4 * layers


def test_towers_without_such_layers_stay_as_they_are(save: Callable[..., Saved]) -> None:
    tower = tower_of(save("dinov2"))
    before = str(tower)
    join_kernels(tower)
    assert str(tower) == before


def test_a_mask_counts_as_before(clip: Saved) -> None:
    plain, joined = tower_of(clip), joined_tower_of(clip)
    one = next(module for module in plain.modules() if type(module).__name__ == "CLIPAttention")
    other = next(module for module in joined.modules() if isinstance(module, OneProduct))
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2, 5, other.qkv.in_features, generator=generator)
    mask = torch.zeros(2, 1, 5, 5).masked_fill_(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    with torch.inference_mode():
        torch.testing.assert_close(other(tokens, mask)[0], one(tokens, mask)[0])
