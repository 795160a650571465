"""Attention for bfloat16 on the CPU: a few heads at a time, so that their scores stay in the processor's caches.

```text
queries, keys, values  (n * heads, tokens, d)
   block after block:  queries * keys ─▶ scores (heads in a block, tokens, tokens) ─softmax─▶ * values
```

On an AMD EPYC (Zen 5), which multiplies bfloat16 itself, this took 0.4 to 0.55 of the time of torch's fused operator
for 50 to 1,370 tokens; without such instructions it took 1.2 of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from clip_image_encoder.models._towers import use_attention
from clip_image_encoder.models._transformers import own_module

__all__ = ["blocked_attention", "use_blocked_attention"]

_NAME = "clip_image_encoder_blocks"

_SCORES = 2**21
"""Number of scores in a block, 4 MiB in bfloat16; from 2**18 to 2**22 the time differed by a tenth."""


def use_blocked_attention(tower: nn.Module) -> None:
    """Make a tower's networks of transformers compute attention in blocks.

    transformers finds it by a name, under which it is registered there.
    """
    own_module().AttentionInterface.register(_NAME, blocked_attention)
    use_attention(tower, _NAME)


def blocked_attention(
    _module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **_unused: Any,
) -> tuple[Tensor, None]:
    """Return the attended values `(n, tokens, heads, d)`, and None in the place of the attention weights.

    Args:
        query: Queries `(n, heads, tokens, d)`.
        key: Keys `(n, heads, tokens, d)`.
        value: Values `(n, heads, tokens, d)`.
        attention_mask: Numbers that are added to the scores, or which of them count, as torch's fused operator takes
            them, which then computes all; None if all count.
        scaling: Factor of the products of queries and keys; None means 1 / sqrt(d).
    """
    if attention_mask is not None:
        attended = scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
        return attended.transpose(1, 2).contiguous(), None
    count, heads, tokens, width = query.shape
    size = max(1, _SCORES // (tokens * key.shape[2]))
    queries, keys, values = (part.flatten(0, 1).split(size) for part in (query, key, value))
    scale = width**-0.5 if scaling is None else scaling
    attended = torch.cat([_attend(*block, scale=scale) for block in zip(queries, keys, values, strict=True)])
    return attended.unflatten(0, (count, heads)).transpose(1, 2).contiguous(), None


def _attend(query: Tensor, key: Tensor, value: Tensor, *, scale: float) -> Tensor:
    """Return the values `(heads, tokens, d)` that the queries of a block attend to."""
    nothing = query.new_empty(1).expand(len(query), query.shape[1], key.shape[1])
    scores = torch.baddbmm(nothing, query, key.transpose(1, 2), beta=0, alpha=scale)
    return torch.bmm(scores.softmax(-1), value)
