"""The one token of each text that its vector is made of, computed without what it doesn't depend on.

    token ids ─embeddings─▶ ─`one_token`─▶ (n, width) ─last layer norm─▶ (n, width)

Where no token attends to a later one, the tokens behind the last wanted one are left out. What transformers' models do
around their layers takes a large part of the time of a single text.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clip_image_encoder.models._attention import Attend, as_mask, earlier
from clip_image_encoder.models._layers import one_token

__all__ = ["token_of_text"]


def token_of_text(
    attend: Attend, model: Any, token_ids: Tensor, places: Tensor, attention_mask: Tensor | None, *, is_causal: bool
) -> Tensor:
    """Return one token of each text after a text transformer's final layer norm, `(n, width)`.

    Args:
        attend: Function that computes attention.
        model: Text transformer of CLIP's or SigLIP's kind, such as transformers' `CLIPTextModel`.
        token_ids: Token ids `(n, length)`.
        places: Place of the wanted token in each text, `(n,)`.
        attention_mask: Mask `(n, length)`, 1 for a token and 0 for padding; None if nothing is masked.
        is_causal: Whether no token attends to a later one.
    """
    # A graph is made for texts of any length, of which it can't leave anything out.
    if is_causal and len(places) and not torch.compiler.is_compiling():
        stop = int(places.max()) + 1
        token_ids = token_ids[:, :stop]
        attention_mask = None if attention_mask is None else _unless_behind(attention_mask[:, :stop], places)
    tokens: Tensor = model.embeddings(input_ids=token_ids)
    # torch's operator is faster if it is told that attention is causal than with a causal mask.
    is_ordered = is_causal and attention_mask is None
    mask = _mask(attention_mask, tokens, is_causal=is_causal)
    result: Tensor = model.final_layer_norm(
        one_token(model.encoder.layers, tokens, places, attend, mask, is_causal=is_ordered)
    )
    return result


def _unless_behind(attention_mask: Tensor, places: Tensor) -> Tensor | None:
    """Return a mask, or None if all that it hides is behind the wanted tokens."""
    order = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    hides = (attention_mask == 0) & (order <= places[:, None])
    return attention_mask if bool(hides.any()) else None


def _mask(attention_mask: Tensor | None, tokens: Tensor, *, is_causal: bool) -> Tensor | None:
    """Return the mask of a batch for its attention, `(n, 1, length or 1, length)`; None if nothing is masked."""
    if attention_mask is None:
        return None
    seen = attention_mask[:, None, None, :].bool()
    return as_mask(seen & earlier(tokens.shape[1], tokens) if is_causal else seen, tokens)
