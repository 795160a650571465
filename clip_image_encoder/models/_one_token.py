"""The one token of each text that its vector is made of, computed without what it doesn't depend on.

    token ids ─embeddings─▶ ─all layers but the last─▶ (n, length, width) ─last layer, one token─▶ (n, width) ─norm─▶

Where no token attends to a later one, the tokens behind the last wanted one are left out. The layers are those of
transformers, called by their parts: what its models do around them takes a large part of the time of a single text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

__all__ = ["one_token"]


def one_token(
    model: Any, token_ids: Tensor, places: Tensor, attention_mask: Tensor | None, *, is_causal: bool
) -> Tensor:
    """Return one token of each text after a text transformer's final layer norm, `(n, width)`.

    Args:
        model: Text transformer of CLIP's or SigLIP's kind, such as transformers' `CLIPTextModel`, with a layer norm
            before each half of a layer.
        token_ids: Token ids `(n, length)`.
        places: Place of the wanted token in each text, `(n,)`.
        attention_mask: Mask `(n, length)`, 1 for a token and 0 for padding; None if nothing is masked.
        is_causal: Whether no token attends to a later one.
    """
    if is_causal and len(places):
        stop = int(places.max()) + 1
        token_ids = token_ids[:, :stop]
        attention_mask = None if attention_mask is None else _unless_behind(attention_mask[:, :stop], places)
    texts = torch.arange(len(token_ids), device=token_ids.device)
    tokens: Tensor = model.embeddings(input_ids=token_ids)
    seen = _seen(tokens, attention_mask, is_causal=is_causal)
    *layers, last = model.encoder.layers
    for layer in layers:
        normed = layer.layer_norm1(tokens)
        # torch is faster with is_causal=True than with a causal mask.
        is_ordered = is_causal and attention_mask is None
        tokens = tokens + _attended(layer.self_attn, normed, normed, None if is_ordered else seen, is_causal=is_ordered)
        tokens = tokens + layer.mlp(layer.layer_norm2(tokens))
    normed = last.layer_norm1(tokens)
    if seen is not None:  # keeps what the wanted tokens attend to, (n, 1, 1, length)
        seen = seen.expand(len(texts), 1, tokens.shape[1], -1)[texts, :, places, None]
    attended = _attended(last.self_attn, normed[texts, places, None], normed, seen, is_causal=False)  # (n, 1, width)
    token = tokens[texts, places] + attended[:, 0]
    result: Tensor = model.final_layer_norm(token + last.mlp(last.layer_norm2(token)))
    return result


def _unless_behind(attention_mask: Tensor, places: Tensor) -> Tensor | None:
    """Return a mask, or None if all that it hides is behind the wanted tokens."""
    order = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    hides = (attention_mask == 0) & (order <= places[:, None])
    return attention_mask if bool(hides.any()) else None


def _seen(tokens: Tensor, attention_mask: Tensor | None, *, is_causal: bool) -> Tensor | None:
    """Return which tokens each token attends to, `(n or 1, 1, length or 1, length)`; None if each attends to all."""
    seen = None if attention_mask is None else attention_mask[:, None, None, :].bool()
    if not is_causal:
        return seen
    length = tokens.shape[1]
    before = torch.ones(length, length, dtype=torch.bool, device=tokens.device).tril()[None, None]
    return before if seen is None else before & seen


def _attended(attention: Any, queries: Tensor, keys: Tensor, seen: Tensor | None, *, is_causal: bool) -> Tensor:
    """Return the output `(n, queries, width)` of an attention layer for tokens that attend to `(n, keys, width)`."""

    def heads(tokens: Tensor) -> Tensor:
        split: Tensor = tokens.unflatten(-1, (attention.num_heads, -1))
        return split.transpose(1, 2)  # (n, heads, length, width / heads)

    values = scaled_dot_product_attention(
        heads(attention.q_proj(queries)),
        heads(attention.k_proj(keys)),
        heads(attention.v_proj(keys)),
        attn_mask=seen,
        is_causal=is_causal,
        scale=attention.scale,
    )
    projected: Tensor = attention.out_proj(values.transpose(1, 2).flatten(-2))
    return projected
