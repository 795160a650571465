"""Faster layers for torch's towers on the CPU: packed matrix products, fused activations, plain attention.

torch computes float32 products with MKL, which on AMD's processors reaches half of what oneDNN does, and lays out the
weights anew at each call. The operators that go to oneDNN directly, with weights laid out once, are torch's own, made
for its compiler, and not public: they are used only where they are there, agree with the plain layer, and are faster
by what is known of the processor. A stopwatch would give another answer at each start of a busy machine.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor, nn

from clip_image_encoder.backends._quick_gelu import fold_quick_gelu
from clip_image_encoder.models._towers import TextTower, use_plain_attention

__all__ = ["PIXELS_AT_ONCE", "TOKENS_AT_ONCE", "is_faster", "make_quick", "make_texts_quick", "pack"]

TOKENS_AT_ONCE = 1600
"""What passes a tower together: products are at their best, and what is between them still fits the caches."""

PIXELS_AT_ONCE = 200_000
"""The same of a network without patches: three images of 256 x 256 pixels, of which four kinds were measured."""

_ROWS = 800
"""The size of the products that are compared."""
_WORTH_IT = 2**18
"""Weights of the largest layer: in smaller towers there is nothing to gain."""
_TOLERANCE = MappingProxyType({torch.float32: 1e-4, torch.bfloat16: 2e-2})

_FASTER_ON = MappingProxyType({torch.float32: ("AVX2", "AVX512"), torch.bfloat16: ("AVX512",)})
"""Where packed layers are faster, by what `torch.backends.cpu.get_cpu_capability` says.

Measured on an AMD EPYC (Zen 5) with layers of ViT-B, 50 to 1600 rows, one and two threads, as times of the plain layer
to the packed one. float32: 2.1 to 3.7 with AVX-512, where MKL doesn't use it on AMD's processors; 1.0 to 1.7 with both
held to AVX2. bfloat16: 1.1 to 2.0 with AVX-512; with AVX2 alone oneDNN has none. On Intel's processors, whose MKL is as
quick as oneDNN, what is left is the layout and the activation, and it was not measured. Neither were other processors,
on which the layers stay as they are.
"""

_FEW_TOKENS = 400
"""Up to here plain attention was faster in bfloat16 than torch's fused one: twice at 50 and at 257 tokens."""

# What oneDNN calls them, whose swish is SiLU; by the names of the classes, of which each transformers has others.
_ACTIVATIONS = MappingProxyType(
    {
        "QuickGELUActivation": ("swish", ""),
        "GELUActivation": ("gelu", "none"),
        "GELUTanh": ("gelu", "tanh"),
        "PytorchGELUTanh": ("gelu", "tanh"),
    }
)


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
    """Change a vision tower in place to what is faster here, and gives the same.

    Args:
        tower: on the CPU, with its weights.
        tokens: that a picture has in it.
    """
    largest = _largest(tower)
    if largest is None:
        return
    if largest.weight.dtype is torch.bfloat16 and tokens <= _FEW_TOKENS:
        use_plain_attention(tower)
    if _gains(largest):
        pack(tower)


def make_texts_quick(tower: TextTower) -> None:
    """Change a text tower in place to what is faster here, and gives the same.

    Args:
        tower: On the CPU, with its weights.
    """
    if tower.quick_vectors:
        tower.vectors = tower.quick_vectors
    largest = _largest(tower)
    if largest is not None and _gains(largest):
        pack(tower)


def _largest(tower: nn.Module) -> nn.Linear | None:
    """Return the layer with the most weights; of two as large the one whose activation can be fused."""
    linears = (module for module in tower.modules() if type(module) is nn.Linear)
    return max(linears, key=lambda linear: (linear.weight.numel(), linear.out_features), default=None)


def _gains(largest: nn.Linear) -> bool:
    """Tell whether a tower with this largest layer is faster with packed ones, and gives the same."""
    is_worth_it = largest.weight.numel() >= _WORTH_IT
    return is_worth_it and is_faster(largest.weight.dtype, torch.backends.cpu.get_cpu_capability()) and _agrees(largest)


def is_faster(dtype: torch.dtype, capability: str) -> bool:
    """Return whether packed layers are faster than plain ones.

    Args:
        dtype: Of the weights.
        capability: Instructions of the processor, as `torch.backends.cpu.get_cpu_capability` names them.
    """
    return capability in _FASTER_ON.get(dtype, ())


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
    if activation == "QuickGELUActivation":
        fold_quick_gelu(mlp)
    mlp.fc1 = PackedLinear(cast("nn.Linear", mlp.fc1), *_ACTIVATIONS[activation])


@torch.inference_mode()
def _agrees(linear: nn.Linear) -> bool:
    """Return whether one layer with an activation gives the same both ways."""
    dtype = linear.weight.dtype
    inputs = torch.linspace(-1, 1, _ROWS * linear.in_features, dtype=dtype).reshape(_ROWS, linear.in_features)
    try:
        packed = PackedLinear(linear, "gelu", "none")(inputs)
    except (AttributeError, NotImplementedError, RuntimeError):  # this build of torch has no such operators
        return False
    plain = nn.functional.gelu(linear(inputs))
    return torch.allclose(packed, plain, rtol=_TOLERANCE[dtype], atol=_TOLERANCE[dtype])
