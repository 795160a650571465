"""Vision and text towers as torch modules, which backends move to a device, compile and export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from clip_image_encoder.errors import ContractError
from clip_image_encoder.protocols import Output

__all__ = ["OfClassToken", "TextTower", "VisionTower", "bare", "build", "linear_of", "use_attention"]

_Module = TypeVar("_Module", bound=nn.Module)


class VisionTower(nn.Module):
    """A vision tower, which turns pixels into one vector for each image, or into all its tokens.

    Args:
        model: Network with its weights.
        features: Function of the model, pixels `(n, H, W, 3)` in 0..255 and the wanted output; returns `(n, d)` for
            "pooled" and `(n, prefix_tokens + patches, d)` for "tokens".
        dimension: Length d of a vector.
        pixels: Kind of pixels that `features` is called with. "bytes", the default, are those above, for a network
            whose patch embedding takes over mean and std; "normalized" are normalized pixels `(n, 3, H, W)` in the
            dtype of the weights, for a network that begins with any other layer.
        leave_pooled: Function that changes the model in place to a faster one with the same "pooled" and no "tokens",
            for graphs; None, the default, if the family has none.

    Attributes:
        prepared: Module that the pixels pass before `features`: the identity, or the one that normalizes them, which
            the backend puts there for `pixels="normalized"`.

    Raises:
        ContractError: A parameter or buffer of the model has no value.
    """

    def __init__(
        self,
        model: nn.Module,
        features: Callable[[Any, Tensor, Output], Tensor],
        *,
        dimension: int,
        pixels: Literal["bytes", "normalized"] = "bytes",
        leave_pooled: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__()
        _check_filled(model)
        self.model = model
        self.features = features
        self.dimension = dimension
        self.pixels = pixels
        self.prepared: nn.Module = nn.Identity()
        self.leave_pooled = leave_pooled

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return the features of pixels `(n, H, W, 3)` in 0..255."""
        return self.features(self.model, self.prepared(pixels), output)


class OfClassToken(nn.Module):
    """A layer that is applied to the class token alone, the first of an image's tokens.

    Args:
        layer: Layer that takes tokens `(n, 1, d)`.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the layer's output for the first of the tokens `(n, tokens, d)`."""
        result: Tensor = self.layer(tokens[:, :1])
        return result


class TextTower(nn.Module):
    """A text tower, which turns token ids into one vector for each text.

    Args:
        model: Network with its weights.
        vectors: Function of the model, token ids `(n, length)` and their mask or None; returns `(n, d)`.
        dimension: Length d of a vector.
        quick_vectors: Function like `vectors` that returns the same with less work, for the CPU, where it also saves
            most of Python's overhead for a single text; None, the default, if the family has none.

    Raises:
        ContractError: A parameter or buffer of the model has no value.
    """

    def __init__(
        self,
        model: nn.Module,
        vectors: Callable[[Any, Tensor, Tensor | None], Tensor],
        *,
        dimension: int,
        quick_vectors: Callable[[Any, Tensor, Tensor | None], Tensor] | None = None,
    ) -> None:
        super().__init__()
        _check_filled(model)
        self.model = model
        self.vectors = vectors
        self.dimension = dimension
        self.quick_vectors = quick_vectors

    def forward(self, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return the vectors `(n, d)` of token ids `(n, length)` and their mask."""
        return self.vectors(self.model, token_ids, attention_mask)


def build(module: Callable[[], _Module]) -> _Module:
    """Construct a module without memory, random numbers or initialization; its weights are filled in later.

    Args:
        module: Function that makes the module, called under torch's meta device, which is set in this thread only.

    Example:
        >>> from torch import nn
        >>> from clip_image_encoder.models import build
        >>> build(lambda: nn.Linear(8, 4)).weight.device
        device(type='meta')
    """
    with torch.device("meta"):
        return module().eval()


def linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Return a linear layer with weights `(out, in)` and a bias `(out,)`, which are not copied."""
    layer = build(lambda: nn.Linear(weight.shape[1], weight.shape[0]))
    layer.weight, layer.bias = nn.Parameter(weight, requires_grad=False), nn.Parameter(bias, requires_grad=False)
    return layer


def _check_filled(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise ContractError(
                f"{name} of a tower has no value; after Weights.fill, set what no file stores, such as its buffers"
            )


def bare(model: nn.Module, name: str) -> Any:
    """Return the tower inside a model: transformers 4 wraps it under a name, transformers 5 doesn't."""
    return getattr(model, name, model)


def use_attention(tower: nn.Module, name: str) -> None:
    """Make a tower's networks of transformers compute attention in another way, with the same result.

    Args:
        tower: Tower that uses torch's fused operator otherwise.
        name: transformers' name of the way, such as "eager": two matrix products with a softmax between them.
    """
    for module in tower.modules():
        choose: Any = getattr(module, "set_attn_implementation", None)
        if choose:  # a network of transformers
            choose(name)
