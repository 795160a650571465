"""Faster layers for torch's towers on the CPU: packed matrix products, fused activations, attention in blocks.

torch computes float32 products with MKL, which on AMD's processors is half as fast as oneDNN, and lays out the weights
anew at each call. torch also has operators that call oneDNN with weights that are laid out once. They are made for its
compiler and not public, so they are used only if they exist, agree with the plain layer, and were measured to be faster
with the processor's instructions. Nothing is timed when a tower is loaded, since the result on a busy machine would
differ from start to start.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from clip_image_encoder.backends._pooling_head import make_heads_quick
from clip_image_encoder.backends._quick_gelu import fold_quick_gelu
from clip_image_encoder.models._attention import blocked, fused, use_blocked_attention
from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["PIXELS_AT_ONCE", "TOKENS_AT_ONCE", "is_faster", "make_quick", "make_texts_quick", "pack"]

TOKENS_AT_ONCE = 1600
"""Number of patch tokens that pass a tower together: products are fast, and activations still fit the caches."""

PIXELS_AT_ONCE = 200_000
"""Number of pixels that pass a network without patches together, three images of 256 x 256: measured on four kinds."""

_ROWS = 800
"""Number of rows in the product that compares a packed layer with a plain one; oneDNN lays out weights for it."""
_WORTH_IT = 2**18
"""Smallest number of weights in the largest layer for which packing is worth it."""
_TOLERANCE = MappingProxyType({torch.float32: 1e-4, torch.bfloat16: 2e-2})
"""Largest allowed difference, relative and absolute, between a packed layer and a plain one, by dtype."""

_FASTER_ON = MappingProxyType({torch.float32: ("AVX2", "AVX512"), torch.bfloat16: ("AVX512",)})
"""Values of `torch.backends.cpu.get_cpu_capability` for which packed layers are faster, by dtype.

Measured on an AMD EPYC (Zen 5) with layers of ViT-B, 50 to 1600 rows, one and two threads, as the time of the plain
layer divided by that of the packed one. float32: 2.1 to 3.7 with AVX-512, which MKL doesn't use on AMD's processors;
1.0 to 1.7 with both restricted to AVX2. bfloat16: 1.1 to 2.0 with AVX-512; oneDNN has no bfloat16 product for AVX2.
Intel's processors, on which MKL is as fast as oneDNN, were not measured; there only the layout and the fused activation
can help. Processors with other capabilities were not measured, and keep the plain layers.
"""

# oneDNN's names of activations, (kind, algorithm), by the names of transformers' classes; PytorchGELUTanh is the older
# name of GELUTanh. swish is SiLU, into which `fold_quick_gelu` turns QuickGELU.
_ACTIVATIONS = MappingProxyType(
    {
        "QuickGELUActivation": ("swish", ""),
        "GELUActivation": ("gelu", "none"),
        "GELUTanh": ("gelu", "tanh"),
        "PytorchGELUTanh": ("gelu", "tanh"),
    }
)


class PackedLinear(nn.Module):
    """A linear layer with weights in oneDNN's own layout, which also computes the activation that follows it.

        plain:   inputs -> lay out the weights -> product + bias -> memory -> activation -> memory
        packed:  inputs -> product + bias, activation of each block while it is in the cache -> memory

    Args:
        linear: Linear layer on the CPU, with its weights; it is not changed.
        activation: oneDNN's name of the activation: "none", "gelu" or "swish".
        algorithm: oneDNN's variant of "gelu", "none" for the exact one or "tanh"; empty for the others.
    """

    def __init__(self, linear: nn.Linear, activation: str = "none", algorithm: str = "") -> None:
        super().__init__()
        self.weight: Tensor = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.bias = linear.bias
        self.activation, self.algorithm = activation, algorithm

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the activated product, `(..., out_features)` for inputs `(..., in_features)`."""
        product = torch.ops.mkldnn._linear_pointwise(
            inputs, self.weight, self.bias, self.activation, [], self.algorithm
        )
        return cast("Tensor", product)


def make_quick(tower: VisionTower) -> None:
    """Replace layers of a vision tower in place by faster ones with equal results, if this processor has such.

    Args:
        tower: Vision tower on the CPU, with its weights.
    """
    make_heads_quick(tower)
    largest = _largest(tower)
    in_blocks = largest is not None and largest.weight.dtype is torch.bfloat16 and _multiplies_bfloat16()
    if in_blocks:
        use_blocked_attention(tower)
    tower.become_quick(blocked if in_blocks else fused)
    if largest is not None and _gains(largest):
        pack(tower)


def make_texts_quick(tower: TextTower) -> None:
    """Replace layers of a text tower in place by faster ones with equal results, if this processor has such.

    Args:
        tower: Text tower on the CPU, with its weights.
    """
    tower.become_quick(fused)
    largest = _largest(tower)
    if largest is not None and _gains(largest):
        pack(tower)


def _largest(tower: nn.Module) -> nn.Linear | None:
    """Return the linear layer with the most weights; of equal ones that with the most outputs, an MLP's first."""
    linears = (module for module in tower.modules() if type(module) is nn.Linear)
    return max(linears, key=lambda linear: (linear.weight.numel(), linear.out_features), default=None)


def _gains(largest: nn.Linear) -> bool:
    """Tell whether packed layers make a tower with this largest layer faster, with equal results."""
    is_worth_it = largest.weight.numel() >= _WORTH_IT
    return is_worth_it and is_faster(largest.weight.dtype, torch.backends.cpu.get_cpu_capability()) and _agrees(largest)


def _multiplies_bfloat16() -> bool:
    """Tell whether this processor has instructions for products of bfloat16; False if torch doesn't say."""
    ask = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return ask is not None and bool(ask())


def is_faster(dtype: torch.dtype, capability: str) -> bool:
    """Tell whether packed layers were measured to be faster than plain ones.

    Args:
        dtype: Dtype of the weights.
        capability: Instructions of the processor, as `torch.backends.cpu.get_cpu_capability` returns them.
    """
    return capability in _FASTER_ON.get(dtype, ())


def pack(tower: nn.Module) -> None:
    """Replace the linear layers of a tower, and the activations of its MLPs, by packed layers in place."""
    # The list contains no layer that is replaced, so that its weights are freed before the next layer is packed.
    owners = [module for module in tower.modules() if type(module) is not nn.Linear]
    for module in owners:
        for name in ("activation_fn", "activation"):
            kind = type(getattr(module, name, None)).__name__
            if kind in _ACTIVATIONS and isinstance(getattr(module, "fc1", None), nn.Linear):
                _fuse(module, kind)
                setattr(module, name, nn.Identity())
    for module in owners:
        for name, child in module.named_children():
            # Subclasses stay: nn.MultiheadAttention reads the weights of its NonDynamicallyQuantizableLinear itself.
            if type(child) is nn.Linear:
                setattr(module, name, PackedLinear(child))


def _fuse(mlp: nn.Module, activation: str) -> None:
    """Replace the first layer of an MLP by a packed one that computes the activation, too."""
    if activation == "QuickGELUActivation":
        fold_quick_gelu(mlp)
    mlp.fc1 = PackedLinear(cast("nn.Linear", mlp.fc1), *_ACTIVATIONS[activation])


@torch.inference_mode()
def _agrees(linear: nn.Linear) -> bool:
    """Tell whether a packed layer with an activation agrees with the plain one."""
    dtype = linear.weight.dtype
    inputs = torch.linspace(-1, 1, _ROWS * linear.in_features, dtype=dtype).reshape(_ROWS, linear.in_features)
    try:
        packed = PackedLinear(linear, "gelu", "none")(inputs)
    except (AttributeError, NotImplementedError, RuntimeError):  # this build of torch has no such operators
        return False
    plain = nn.functional.gelu(linear(inputs))
    return torch.allclose(packed, plain, rtol=_TOLERANCE[dtype], atol=_TOLERANCE[dtype])
