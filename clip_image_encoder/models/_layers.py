"""Layers of transformers' CLIP and SigLIP, called by their parts: the same features as its models, of less work.

    tokens (n, length, width) ─all layers but the last─▶ (n, length, width) ─last layer, one token─▶ (n, width)

In the last layer only the wanted token is computed, once its attention has read all tokens: of a ViT-B/32 that saves a
sixteenth of the work.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from clip_image_encoder.models._attention import Attend, as_mask, earlier

__all__ = ["all_tokens", "one_token"]


def all_tokens(layers: Iterable[Any], tokens: Tensor, attend: Attend) -> Tensor:
    """Return all tokens after some layers, `(n, length, width)`.

    Args:
        layers: Layers with a layer norm before each half.
        tokens: Tokens `(n, length, width)`.
        attend: Function that computes attention; each token attends to all.
    """
    return _through(layers, tokens, attend, None, is_causal=False)


def one_token(
    layers: Iterable[Any],
    tokens: Tensor,
    places: Tensor,
    attend: Attend,
    mask: Tensor | None = None,
    *,
    is_causal: bool = False,
) -> Tensor:
    """Return one token of each input after all layers, `(n, width)`.

    Args:
        layers: Layers with a layer norm before each half.
        tokens: Tokens `(n, length, width)`.
        places: Place of the wanted token in each input, `(n,)`.
        attend: Function that computes attention.
        mask: Mask `(n or 1, 1, length or 1, length)`, as `attend` takes it; None masks nothing.
        is_causal: Whether no token attends to a later one; False by default. Only where there is no mask.
    """
    *before, last = layers
    tokens = _through(before, tokens, attend, mask, is_causal=is_causal)
    count, length, _ = tokens.shape
    inputs = torch.arange(count, device=tokens.device)
    if mask is None and is_causal:
        mask = as_mask(earlier(length, tokens), tokens)[None, None]
    if mask is not None:  # what the wanted tokens attend to, (n, 1, 1, length)
        mask = mask.expand(count, 1, length, -1)[inputs, :, places, None]
    attention, normed = last.self_attn, last.layer_norm1(tokens)
    # The token stays an axis, so that graphs have the same kind of product in all layers.
    query = attention.q_proj(normed[inputs, places, None])  # (n, 1, width)
    attended = _attended(attention, query, normed, attend, mask)
    return _with_mlp(last, tokens[inputs, places, None] + attended)[:, 0]


def _through(layers: Iterable[Any], tokens: Tensor, attend: Attend, mask: Tensor | None, *, is_causal: bool) -> Tensor:
    for layer in layers:
        normed = layer.layer_norm1(tokens)
        query = layer.self_attn.q_proj(normed)
        attended = _attended(layer.self_attn, query, normed, attend, mask, is_causal=is_causal)
        tokens = _with_mlp(layer, tokens + attended)
    return tokens


def _attended(
    attention: Any, query: Tensor, tokens: Tensor, attend: Attend, mask: Tensor | None, *, is_causal: bool = False
) -> Tensor:
    """Return the output of an attention layer `(n, queries, width)` for queries of that shape."""

    def heads(values: Tensor) -> Tensor:
        split: Tensor = values.reshape(*values.shape[:2], attention.num_heads, attention.head_dim)
        return split.transpose(1, 2)  # (n, heads, tokens, width / heads)

    key, value = heads(attention.k_proj(tokens)), heads(attention.v_proj(tokens))
    values = attend(heads(query), key, value, mask, scale=attention.scale, is_causal=is_causal)
    projected: Tensor = attention.out_proj(values.flatten(2))
    return projected


def _with_mlp(layer: Any, tokens: Tensor) -> Tensor:
    """Return the tokens after the second half of a layer."""
    result: Tensor = tokens + layer.mlp(layer.layer_norm2(tokens))
    return result
