"""Faster layers for torch's towers on the CPU: packed matrix products, fused activations, plain attention.

torch computes float32 products with MKL, which on AMD's processors reaches half of what oneDNN does, and lays out the
weights anew at each call. The operators that go to oneDNN directly, with weights laid out once, are torch's own, made
for its compiler, and not public: they are used only where they are there, agree with the plain layer, and were faster
when the tower was loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["PIXELS_AT_ONCE", "TOKENS_AT_ONCE", "make_quick", "pack"]

TOKENS_AT_ONCE = 1600
"""What passes a tower together: products are at their best, and what is between them still fits the caches."""

PIXELS_AT_ONCE = 200_000
"""The same of a network without patches: three images of 256 x 256 pixels, of which four kinds were measured."""

_ROWS = 800
"""The size of the products that are compared."""
_WORTH_IT = 2**18
"""Weights of the largest layer: in smaller towers there is nothing to gain."""
_ROUNDS = 5
_TOLERANCE = MappingProxyType({torch.float32: 1e-4, torch.bfloat16: 2e-2})

_FEW_TOKENS = 400
"""Up to here plain attention was faster in bfloat16 than torch's fused one: twice at 50 and at 257 tokens."""

# What oneDNN calls them; by the names of the classes, of which each transformers has others.
_ACTIVATIONS = MappingProxyType(
    {
        "QuickGELUActivation": ("swish", ""),
        "GELUActivation": ("gelu", "none"),
        "GELUTanh": ("gelu", "tanh"),
        "PytorchGELUTanh": ("gelu", "tanh"),
    }
)
_QUICK = 1.702
"""QuickGELU is x * sigmoid(1.702 x); oneDNN's swish is y * sigmoid(y)."""


class PackedLinear(nn.Module):
    """A linear layer, and the activation that follows it, in one pass over weights in oneDNN's own layout."""

    def __init__(self, linear: nn.Linear, activation: str = "none", algorithm: str = "") -> None:
        super().__init__()
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = linear.bias
        self.activation, self.algorithm = activation, algorithm

    def forward(self, inputs: Tensor) -> Tensor:
        """Return `(..., out)` for `(..., in)`."""
        product = torch.ops.mkldnn._linear_pointwise(
            inputs, self.weight, self.bias, self.activation, [], self.algorithm
        )
        return cast("Tensor", product)


def make_quick(tower: nn.Module, *, tokens: int) -> None:
    """Change a tower in place to what is faster here, and gives the same.

    Args:
        tower: on the CPU, with its weights.
        tokens: that a picture has in it.
    """
    linears = (module for module in tower.modules() if type(module) is nn.Linear)
    # Of two as large the one whose activation can be fused.
    largest = max(linears, key=lambda linear: (linear.weight.numel(), linear.out_features), default=None)
    if largest is None:
        return
    if largest.weight.dtype is torch.bfloat16 and tokens <= _FEW_TOKENS:
        model: Any = tower.model
        if hasattr(model, "set_attn_implementation"):  # a network of transformers
            model.set_attn_implementation("eager")
    if largest.weight.dtype in _TOLERANCE and largest.weight.numel() >= _WORTH_IT and _is_faster(largest):
        pack(tower)


def pack(tower: nn.Module) -> None:
    """Replace the linear layers and the activations between them in place."""
    # None of these lists holds a layer that is replaced: its weights are freed before the next one's are packed.
    owners = [module for module in tower.modules() if type(module) is not nn.Linear]
    for module in owners:
        for name in ("activation_fn", "activation"):
            kind = type(getattr(module, name, None)).__name__
            if kind in _ACTIVATIONS and isinstance(getattr(module, "fc1", None), nn.Linear):
                _fuse(module, kind)
                setattr(module, name, nn.Identity())
    for module in owners:
        for name, child in module.named_children():
            # A subclass's owner reads its weights: nn.MultiheadAttention does.
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child))


def _fuse(mlp: nn.Module, activation: str) -> None:
    """Let the first layer of an MLP compute the activation, too."""
    first, second = cast("nn.Linear", mlp.fc1), cast("nn.Linear", mlp.fc2)
    if activation == "QuickGELUActivation":
        # With y = 1.702 x the first layer gives 1.702 times too much, and the second's weights take it back.
        first.weight.mul_(_QUICK)
        first.bias.mul_(_QUICK)
        second.weight.div_(_QUICK)
    mlp.fc1 = PackedLinear(first, *_ACTIVATIONS[activation])


@torch.inference_mode()
def _is_faster(linear: nn.Linear) -> bool:
    """Measure one layer with an activation both ways, in turn."""
    dtype = linear.weight.dtype
    inputs = torch.linspace(-1, 1, _ROWS * linear.in_features, dtype=dtype).reshape(_ROWS, linear.in_features)
    plain = nn.Sequential(linear, nn.GELU())
    try:
        packed = PackedLinear(linear, "gelu", "none")
        agrees = torch.allclose(packed(inputs), plain(inputs), rtol=_TOLERANCE[dtype], atol=_TOLERANCE[dtype])
    except (AttributeError, NotImplementedError, RuntimeError):  # this build of torch has no such operators
        return False
    pairs = [(_seconds(packed, inputs), _seconds(plain, inputs)) for _ in range(_ROUNDS)]
    return agrees and min(pair[0] for pair in pairs) < 0.95 * min(pair[1] for pair in pairs)


def _seconds(layer: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    begun = time.perf_counter()
    layer(inputs)
    return time.perf_counter() - begun
