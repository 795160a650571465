"""Fewer kernels for torch's vision towers on CUDA devices: the host takes time to launch each, and the GPU waits."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from clip_image_encoder.backends._quick_gelu import fold_quick_gelu
from clip_image_encoder.models._towers import linear_of

__all__ = ["join_kernels"]

# Attention classes of transformers 4.57 to 5, by name. In vision towers they get no mask.
_ATTENTIONS = ("CLIPAttention", "SiglipAttention")


def join_kernels(tower: nn.Module) -> None:
    """Change a vision tower in place, so that it computes the same in fewer kernels.

    Args:
        tower: Vision tower with its weights.
    """
    for module in list(tower.modules()):
        activation = type(getattr(module, "activation_fn", None)).__name__
        if activation == "QuickGELUActivation" and isinstance(getattr(module, "fc1", None), nn.Linear):
            fold_quick_gelu(module)
            module.activation_fn = nn.SiLU()
        for name, child in list(module.named_children()):
            if type(child).__name__ in _ATTENTIONS:
                setattr(module, name, OneProduct(child))


class OneProduct(nn.Module):
    """An attention layer that computes queries, keys and values in one matrix product instead of three.

    Args:
        attention: Attention layer with its weights, an instance of a class named in `_ATTENTIONS`.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.heads, self.scale = attention.num_heads, attention.scale
        layers = (attention.q_proj, attention.k_proj, attention.v_proj)
        self.qkv = linear_of(torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]))
        self.out_proj = attention.out_proj

    def forward(
        self, hidden_states: Tensor, attention_mask: Tensor | None = None, **_unused: Any
    ) -> tuple[Tensor, None]:
        """Return the attended tokens `(n, tokens, d)`, and None in the place of the attention weights."""
        product = self.qkv(hidden_states).unflatten(-1, (3, self.heads, -1))  # (n, tokens, 3, heads, d / heads)
        query, key, value = product.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=self.scale)
        projected = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return cast("Tensor", projected), None
