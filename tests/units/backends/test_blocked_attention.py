"""Attention that is computed for a few heads at a time: the same numbers, in every family's tower."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from clip_image_encoder.backends import _cpu
from clip_image_encoder.backends._cpu import make_quick
from clip_image_encoder.models import _blocked_attention
from clip_image_encoder.models._blocked_attention import blocked_attention, use_blocked_attention

from .conftest import Saved, tower_of

NOBODY = nn.Identity()


def attention_names(tower: nn.Module) -> set[str]:
    configs: list[Any] = [module.config for module in tower.modules() if hasattr(module, "config")]
    return {config._attn_implementation for config in configs}


@pytest.mark.parametrize("output", ["pooled", "tokens"])
def test_every_familys_features_are_the_same(each: Saved, output: str, pixels: NDArray[np.uint8]) -> None:
    plain, blocked = tower_of(each), tower_of(each)
    use_blocked_attention(blocked)
    with torch.inference_mode():
        images = torch.from_numpy(pixels)
        torch.testing.assert_close(blocked(images, output), plain(images, output), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scores", [1, 5 * 7, 3 * 5 * 7, 10**6], ids=["a head", "the same", "three heads", "all"])
@pytest.mark.parametrize("scaling", [None, 0.3])
def test_blocks_of_any_size_give_what_torchs_operator_gives(
    monkeypatch: pytest.MonkeyPatch, scores: int, scaling: float | None
) -> None:
    monkeypatch.setattr(_blocked_attention, "_SCORES", scores)
    query = torch.randn(2, 4, 5, 8)
    key, value = torch.randn(2, 4, 7, 8), torch.randn(2, 4, 7, 8)
    attended, weights = blocked_attention(NOBODY, query, key, value, None, scaling, dropout=0.0)
    assert weights is None
    expected = scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2)
    torch.testing.assert_close(attended, expected)


def test_a_mask_counts() -> None:
    query, key, value = (torch.randn(2, 4, 5, 8) for _ in range(3))
    mask = torch.zeros(2, 1, 5, 5).masked_fill_(torch.ones(5, 5).triu(1).bool(), float("-inf"))
    attended, _ = blocked_attention(NOBODY, query, key, value, mask)
    torch.testing.assert_close(attended, scaled_dot_product_attention(query, key, value, mask).transpose(1, 2))


@pytest.mark.parametrize(
    ("dtype", "multiplies_bfloat16", "is_blocked"),
    [(torch.bfloat16, True, True), (torch.bfloat16, False, False), (torch.float32, True, False)],
)
def test_it_is_used_for_bfloat16_on_processors_that_multiply_it(
    clip: Saved, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, multiplies_bfloat16: bool, is_blocked: bool
) -> None:
    monkeypatch.setattr(_cpu, "_multiplies_bfloat16", lambda: multiplies_bfloat16)
    tower = tower_of(clip, dtype)
    make_quick(tower)
    assert (_blocked_attention._NAME in attention_names(tower)) is is_blocked
