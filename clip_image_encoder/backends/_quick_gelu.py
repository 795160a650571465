"""QuickGELU by SiLU, for which kernels exist: x * sigmoid(1.702 x) = silu(1.702 x) / 1.702.

Source: "Gaussian Error Linear Units", https://arxiv.org/abs/1606.08415, whose sigmoid approximation OpenAI's CLIP uses.
"""

from __future__ import annotations

from typing import cast

from torch import nn

__all__ = ["fold_quick_gelu"]

_FACTOR = 1.702


def fold_quick_gelu(mlp: nn.Module) -> None:
    """Scale the layers around an MLP's QuickGELU in place, so that the MLP computes the same with SiLU instead.

    Args:
        mlp: MLP with its weights; its linear layers `fc1` and `fc2` come before and after the activation.
    """
    first, second = cast("nn.Linear", mlp.fc1), cast("nn.Linear", mlp.fc2)
    # fc2(quick_gelu(y)) = fc2(silu(1.702 y) / 1.702), where y is the output of fc1.
    first.weight.mul_(_FACTOR)
    first.bias.mul_(_FACTOR)
    second.weight.div_(_FACTOR)
