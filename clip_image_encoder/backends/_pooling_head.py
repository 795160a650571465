"""SigLIP's pooling head for the CPU, whose keys and values are products of tokens as they lie in memory."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from clip_image_encoder.models._towers import linear_of

__all__ = ["ProbeAttention", "make_heads_quick"]


class ProbeAttention(nn.Module):
    """Attention of one learned query, the probe, to the tokens of an image; a replacement for `nn.MultiheadAttention`.

    torch's module transposes the tokens to (tokens, n, width) before it multiplies them with the weights. If these need
    no gradient, torch 2.13 then computes a product for each token, with a copy of the weights for each: two images of
    SigLIP so400m at 384 take 3 s in bfloat16, and 0.02 s here.

    Args:
        attention: Module with its weights, `batch_first=True`, and as many features of keys and values as of queries.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        width = attention.embed_dim
        self.heads = attention.num_heads
        weights = cast("Tensor", attention.in_proj_weight).split([width, 2 * width])
        biases = cast("Tensor", attention.in_proj_bias).split([width, 2 * width])
        self.query = linear_of(weights[0], biases[0])
        self.key_value = linear_of(weights[1], biases[1])
        self.out_proj = linear_of(attention.out_proj.weight, attention.out_proj.bias)

    def forward(self, query: Tensor, key: Tensor, _value: Tensor) -> tuple[Tensor, None]:
        """Return the attended values `(n, 1, width)`, and None for the weights that `nn.MultiheadAttention` returns.

        Args:
            query: The probe, `(n, 1, width)`.
            key: Tokens, `(n, tokens, width)`; they are the values, too.
        """
        asked = self.query(query).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        both = self.key_value(key).unflatten(-1, (2, self.heads, -1))  # (n, tokens, 2, heads, width / heads)
        keys, values = both.permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(asked, keys, values)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None


def make_heads_quick(tower: nn.Module) -> None:
    """Replace the attention of a tower's pooling heads in place, if they are SigLIP's of one image size.

    SigLIP 2's head for images of any size masks its tokens, and keeps its attention.
    """
    for module in list(tower.modules()):
        if type(module).__name__ == "SiglipMultiheadAttentionPoolingHead":
            module.attention = ProbeAttention(cast("nn.MultiheadAttention", module.attention))
