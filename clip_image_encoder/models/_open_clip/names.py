"""open_clip's names for the tensors and settings of a transformer, translated from those of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BLOCKS", "activation", "epsilon", "knows_only", "one_of_three", "transposed"]

BLOCKS = (
    (r"^encoder\.layers\.", "transformer.resblocks."),
    (r"\.self_attn\.[qkv]_proj\.(weight|bias)$", r".attn.in_proj_\1"),
    (r"\.self_attn\.out_proj\.", ".attn.out_proj."),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
"""Regular expressions and replacements from transformers' names of layers to open_clip's, for `Weights.fill`."""


def one_of_three(name: str, source: str, tensor: Tensor) -> Tensor:
    """Return the query, key or value projection out of the one tensor that files store for all three.

    Args:
        name: Name of the tensor in transformers' module, such as "encoder.layers.0.self_attn.k_proj.weight".
        source: Name of the tensor in the file, such as "transformer.resblocks.0.attn.in_proj_weight".
        tensor: Tensor of the file, `(3 * width, width)` or `(3 * width,)`; any other tensor is returned as it is.
    """
    if not source.endswith(("in_proj_weight", "in_proj_bias", "qkv.weight", "qkv.bias")):
        return tensor
    letter = name.rpartition("_proj.")[0][-1]
    return tensor.chunk(3)["qkv".index(letter)]


def transposed(_name: str, source: str, tensor: Tensor) -> Tensor:
    """Return the weight of a linear layer, which files store transposed, `(in, out)`, if the layer has no bias."""
    return tensor if source.endswith(".weight") or tensor.ndim == 1 else tensor.T.contiguous()


def knows_only(known: frozenset[str], values: dict[str, object]) -> bool:
    """Tell whether all fields of a part of a `model_cfg` are known, except for those that are false or null."""
    return all(not value or key in known for key, value in values.items())


def activation(values: dict[str, object], *, quick_gelu: bool) -> str | None:
    """Return transformers' name of the activation, or None if it has no name for it."""
    settings = values.get("act_kwargs")
    if not settings:
        return "quick_gelu" if quick_gelu else "gelu"
    return "gelu_pytorch_tanh" if settings == {"approximate": "tanh"} and not quick_gelu else None


def epsilon(values: dict[str, object]) -> float | None:
    """Return the number that layer norms add to the variance, or None if they have other settings, too."""
    settings = values.get("norm_kwargs") or {}
    if not isinstance(settings, dict) or settings.keys() - {"eps"}:
        return None
    return float(settings.get("eps", 1e-5))
