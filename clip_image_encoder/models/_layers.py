"""Layers of transformers' CLIP and SigLIP, called by their parts: the same features as its models, of less work.

    tokens (n, length, width) ─▶ rows (n * length, width) ─all layers but the last─▶ ─last layer, one token─▶ (n, width)

Two things make it faster. In the last layer only the wanted token is computed, once its attention has read all tokens:
of a ViT-B/32 that is a sixteenth of the work. And tokens are the rows of one matrix, to which ONNX Runtime and OpenVINO
add a bias while they compute the product.
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
    query = _heads(attention, attention.q_proj(normed[inputs, places]), (count, 1))
    attended = _attended(attention, query, normed.flatten(0, 1), (count, length), attend, mask)
    return _with_mlp(last, tokens[inputs, places] + attended)


def _through(layers: Iterable[Any], tokens: Tensor, attend: Attend, mask: Tensor | None, *, is_causal: bool) -> Tensor:
    count, length, width = tokens.shape
    rows = tokens.flatten(0, 1)
    for layer in layers:
        attention, normed = layer.self_attn, layer.layer_norm1(rows)
        query = _heads(attention, attention.q_proj(normed), (count, length))
        attended = _attended(attention, query, normed, (count, length), attend, mask, is_causal=is_causal)
        rows = _with_mlp(layer, rows + attended)
    return rows.reshape(count, length, width)


def _heads(attention: Any, rows: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return rows `(n * length, width)` of the shape `(n, length)` as `(n, heads, length, width / heads)`."""
    return rows.reshape(*shape, attention.num_heads, attention.head_dim).transpose(1, 2)


def _attended(
    attention: Any,
    query: Tensor,
    rows: Tensor,
    shape: tuple[int, int],
    attend: Attend,
    mask: Tensor | None,
    *,
    is_causal: bool = False,
) -> Tensor:
    """Return the output of an attention layer, `(n * queries, width)`, for queries `(n, heads, queries, d)`."""
    key, value = (_heads(attention, project(rows), shape) for project in (attention.k_proj, attention.v_proj))
    values = attend(query, key, value, mask, scale=attention.scale, is_causal=is_causal)
    projected: Tensor = attention.out_proj(values.flatten(2).flatten(0, 1))
    return projected


def _with_mlp(layer: Any, rows: Tensor) -> Tensor:
    """Return the rows after the second half of a layer."""
    result: Tensor = rows + layer.mlp(layer.layer_norm2(rows))
    return result
