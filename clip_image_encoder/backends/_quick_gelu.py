"""QuickGELU, x * sigmoid(1.702 x), by an activation that kernels have: it is silu(1.702 x) / 1.702."""

from __future__ import annotations

from typing import cast

from torch import nn

__all__ = ["fold_quick_gelu"]

_FACTOR = 1.702


def fold_quick_gelu(mlp: nn.Module) -> None:
    """Change the layers around an MLP's QuickGELU in place, so that SiLU between them gives the same.

    Args:
        mlp: With its weights, and the linear layers `fc1` before and `fc2` after the activation.
    """
    first, second = cast("nn.Linear", mlp.fc1), cast("nn.Linear", mlp.fc2)
    # The first layer gives 1.702 times too much, and the second's weights take it back.
    first.weight.mul_(_FACTOR)
    first.bias.mul_(_FACTOR)
    second.weight.div_(_FACTOR)
