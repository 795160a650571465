"""Faster layers for torch's towers on the CPU: matrix products by oneDNN where torch takes another library.

torch computes float32 products with MKL, which on AMD's processors reaches half of what oneDNN does. The operator that
goes to oneDNN directly is torch's own, made for its compiler, and not public: it is used only where it is there,
agrees with the plain layer, and was faster when the tower was loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from transformers.activations import QuickGELUActivation

__all__ = ["use_onednn"]

_ROWS = 800
"""Tokens of sixteen pictures: the sizes of the products that are compared."""
_WORTH_IT = 2**18
"""Weights of the largest layer: in smaller towers there is nothing to gain."""
_ROUNDS = 5
_TOLERANCE = 1e-4


class _OneDnnLinear(nn.Module):
    """A linear layer and the activation that follows it, in one pass."""

    def __init__(self, linear: nn.Linear, activation: str = "none") -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.activation = activation

    def forward(self, inputs: Tensor) -> Tensor:
        product = torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, self.activation, [], "")
        return cast("Tensor", product)


def use_onednn(tower: nn.Module) -> None:
    """Replace a float32 tower's linear layers in place, if that is faster here.

    Args:
        tower: on the CPU, with its weights.
    """
    linears = [module for module in tower.modules() if isinstance(module, nn.Linear)]
    largest = max(linears, key=lambda linear: linear.weight.numel())
    if largest.weight.dtype != torch.float32 or largest.weight.numel() < _WORTH_IT or not _is_faster(largest):
        return
    for module in list(tower.modules()):
        if isinstance(getattr(module, "activation_fn", None), QuickGELUActivation):
            _fuse_quick_gelu(module)
    for module in list(tower.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, _OneDnnLinear(child))


@torch.inference_mode()
def _is_faster(linear: nn.Linear) -> bool:
    """Measure one layer both ways, in turn."""
    inputs = torch.linspace(-1, 1, _ROWS * linear.in_features).reshape(_ROWS, linear.in_features)
    quick = _OneDnnLinear(linear)
    try:
        agrees = torch.allclose(quick(inputs), linear(inputs), rtol=_TOLERANCE, atol=_TOLERANCE)
    except (AttributeError, NotImplementedError, RuntimeError):  # this build of torch has no such operator
        return False
    pairs = [(_seconds(quick, inputs), _seconds(linear, inputs)) for _ in range(_ROUNDS)]
    return agrees and min(pair[0] for pair in pairs) < 0.9 * min(pair[1] for pair in pairs)


def _seconds(layer: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    begun = time.perf_counter()
    layer(inputs)
    return time.perf_counter() - begun


def _fuse_quick_gelu(mlp: nn.Module) -> None:
    """Let the first layer of a CLIP's MLP compute the activation, too.

    QuickGELU is x * sigmoid(1.702 x); oneDNN has y * sigmoid(y). With y = 1.702 x the first layer gives 1.702 times
    too much, and the second layer's weights take it back.
    """
    first, second = cast("nn.Linear", mlp.fc1), cast("nn.Linear", mlp.fc2)
    with torch.no_grad():
        for weights, factor in ((first.weight, 1.702), (first.bias, 1.702), (second.weight, 1 / 1.702)):
            weights.mul_(factor)
    mlp.fc1, mlp.activation_fn = _OneDnnLinear(first, "swish"), nn.Identity()
