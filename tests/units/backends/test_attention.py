"""Three ways to compute attention: the same numbers, in every family's tower."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from clip_image_encoder.backends import _cpu
from clip_image_encoder.backends._cpu import make_quick
from clip_image_encoder.models import _attention
from clip_image_encoder.models._attention import (
    Attend,
    as_mask,
    blocked,
    earlier,
    fused,
    products,
    use_blocked_attention,
)

from .conftest import Saved, tower_of

all_ways = pytest.mark.parametrize("attend", [fused, blocked, products])


def attention_names(tower: nn.Module) -> set[str]:
    configs: list[Any] = [module.config for module in tower.modules() if hasattr(module, "config")]
    return {config._attn_implementation for config in configs}


def some(queries: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values of two inputs with four heads, five tokens and eight numbers."""
    return torch.randn(2, 4, queries, 8), torch.randn(2, 4, 5, 8), torch.randn(2, 4, 5, 8)


@pytest.mark.parametrize("output", ["pooled", "tokens"])
def test_every_familys_features_are_the_same_in_blocks(each: Saved, output: str, pixels: NDArray[np.uint8]) -> None:
    plain, in_blocks = tower_of(each), tower_of(each)
    use_blocked_attention(in_blocks)
    with torch.inference_mode():
        images = torch.from_numpy(pixels)
        torch.testing.assert_close(in_blocks(images, output), plain(images, output), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scores", [1, 3 * 5, 9 * 5, 10**6], ids=["a head", "the same", "three heads", "all"])
@pytest.mark.parametrize("queries", [1, 3])
def test_blocks_of_any_size_give_what_torchs_operator_gives(
    monkeypatch: pytest.MonkeyPatch, scores: int, queries: int
) -> None:
    monkeypatch.setattr(_attention, "_SCORES", scores)
    given = some(queries)
    expected = scaled_dot_product_attention(*given, scale=0.3).transpose(1, 2)
    torch.testing.assert_close(blocked(*given, None, scale=0.3), expected)


@all_ways
@pytest.mark.parametrize("queries", [1, 5])
def test_a_mask_counts(attend: Attend, queries: int) -> None:
    given = some(queries)
    mask = as_mask(torch.tensor([[True, True, False, True, True], [True, False, False, False, True]]), given[0])
    expected = scaled_dot_product_attention(*given, mask[:, None, None], scale=0.3).transpose(1, 2)
    torch.testing.assert_close(attend(*given, mask[:, None, None], scale=0.3), expected)
    assert not torch.allclose(attend(*given, None, scale=0.3), expected)


@all_ways
def test_no_token_attends_to_a_later_one_if_so_asked(attend: Attend) -> None:
    given = some()
    expected = scaled_dot_product_attention(*given, is_causal=True, scale=0.3).transpose(1, 2)
    torch.testing.assert_close(attend(*given, None, scale=0.3, is_causal=True), expected)
    torch.testing.assert_close(attend(*given, as_mask(earlier(5, given[0]), given[0]), scale=0.3), expected)


@all_ways
def test_a_query_that_sees_nothing_gives_numbers(attend: Attend) -> None:
    """Padding to the left of a text sees nothing; NaN would spread to what attends to it."""
    given = some()
    mask = as_mask(torch.zeros(2, 1, 1, 5, dtype=torch.bool), given[0])
    assert attend(*given, mask, scale=0.3).isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "multiplies_bfloat16", "is_blocked"),
    [(torch.bfloat16, True, True), (torch.bfloat16, False, False), (torch.float32, True, False)],
)
def test_blocks_are_used_for_bfloat16_on_processors_that_multiply_it(
    clip: Saved, monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, multiplies_bfloat16: bool, is_blocked: bool
) -> None:
    monkeypatch.setattr(_cpu, "_multiplies_bfloat16", lambda: multiplies_bfloat16)
    tower = tower_of(clip, dtype)
    make_quick(tower)
    assert (_attention._NAME in attention_names(tower)) is is_blocked
    assert tower.features.args[0] is (blocked if is_blocked else fused)  # type: ignore[attr-defined]  # a partial
