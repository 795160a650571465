"""Three ways to compute attention, equal but for rounding: each is the fastest somewhere.

- `fused`: torch's own operator, for float32 on the CPU.
- `blocked`: a few heads at a time, so that their scores stay in the processor's caches, for bfloat16 on the CPU. On an
  AMD EPYC (Zen 5), which multiplies bfloat16 itself, it took 0.4 to 0.55 of the time of torch's operator for 50 to
  1,370 tokens; without such instructions it took 1.2 of it.
- `products`: two matrix products with a softmax between them, for graphs. torch's operator becomes ten more small
  nodes in each layer, a tenth of the time of one short text.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from clip_image_encoder.models._transformers import own_module

__all__ = ["Attend", "as_mask", "blocked", "earlier", "fused", "products", "use_attention", "use_blocked_attention"]

_NAME = "clip_image_encoder_blocks"

_SCORES = 2**21
"""Number of scores in a block, 4 MiB in bfloat16; from 2**18 to 2**22 the time differed by a tenth."""


class Attend(Protocol):
    """A function that computes attention."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, scale: float, is_causal: bool = False
    ) -> Tensor:
        """Return the attended values `(n, queries, heads, d)`.

        Args:
            query: Queries `(n, heads, queries, d)`.
            key: Keys `(n, heads, tokens, d)`.
            value: Values `(n, heads, tokens, d)`.
            mask: Numbers that are added to the scores, of a shape that `(n, heads, queries, tokens)` includes; None
                adds nothing.
            scale: Factor of the products of queries and keys.
            is_causal: Whether no query attends to a later token; False by default. Only where there is no mask.
        """
        ...


def fused(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, scale: float, is_causal: bool = False
) -> Tensor:
    """Return the attended values `(n, queries, heads, d)`, computed by torch's operator."""
    attended: Tensor = scaled_dot_product_attention(query, key, value, mask, is_causal=is_causal, scale=scale)
    return attended.transpose(1, 2)


def blocked(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, scale: float, is_causal: bool = False
) -> Tensor:
    """Return the attended values `(n, queries, heads, d)`, computed block after block; with a mask, by `fused`.

    ```text
    queries, keys, values  (n * heads, tokens, d)
       block after block:  queries * keys -> scores (heads in a block, queries, tokens) -softmax-> * values
    ```
    """
    if mask is not None or is_causal:
        return fused(query, key, value, mask, scale=scale, is_causal=is_causal)
    count, heads, queries, _ = query.shape
    size = max(1, _SCORES // (queries * key.shape[2]))
    parts = zip(*(part.flatten(0, 1).split(size) for part in (query, key, value)), strict=True)
    attended = torch.cat([_attend(*block, scale=scale) for block in parts])
    each: Tensor = attended.unflatten(0, (count, heads))
    return each.transpose(1, 2)


def products(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, scale: float, is_causal: bool = False
) -> Tensor:
    """Return the attended values `(n, queries, heads, d)`, computed by two matrix products and a softmax."""
    if is_causal:
        mask = as_mask(earlier(key.shape[2], query), query)
    scores = query @ key.transpose(-1, -2) * scale
    weights = (scores if mask is None else scores + mask).softmax(-1)
    attended: Tensor = (weights @ value).transpose(1, 2)
    return attended


def as_mask(seen: Tensor, like: Tensor) -> Tensor:
    """Return a mask of numbers in the dtype of `like`: 0 where something is seen, and the lowest number elsewhere.

    Not minus infinity, which would give NaN for a query that sees nothing, such as one of padding.
    """
    everything, nothing = (like.new_tensor(value) for value in (0, torch.finfo(like.dtype).min))
    return torch.where(seen, everything, nothing)


def earlier(length: int, like: Tensor) -> Tensor:
    """Return which tokens each token may attend to if none attends to a later one, `(length, length)` bool."""
    return torch.ones(length, length, dtype=torch.bool, device=like.device).tril()


def use_attention(tower: nn.Module, name: str) -> None:
    """Make a tower's networks of transformers compute attention in another way, with the same result.

    Args:
        tower: Tower that uses torch's operator otherwise.
        name: transformers' name of the way, such as "eager": two matrix products with a softmax between them.
    """
    for module in tower.modules():
        choose: Any = getattr(module, "set_attn_implementation", None)
        if choose:  # a network of transformers
            choose(name)


def use_blocked_attention(tower: nn.Module) -> None:
    """Make a tower's networks of transformers compute attention in blocks.

    transformers finds it by a name, under which it is registered there.
    """
    own_module().AttentionInterface.register(_NAME, _blocked_for_transformers)
    use_attention(tower, _NAME)


def _blocked_for_transformers(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_unused: Any,
) -> tuple[Tensor, None]:
    """Return the attended values, and None in the place of the attention weights; scaling None means 1 / sqrt(d)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return blocked(query, key, value, attention_mask, scale=scale).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Return the values `(heads, queries, d)` that the queries of a block attend to."""
    nothing = query.new_empty(1).expand(len(query), query.shape[1], key.shape[1])
    scores = torch.baddbmm(nothing, query, key.transpose(1, 2), beta=0, alpha=scale)
    return torch.bmm(scores.softmax(-1), value)
