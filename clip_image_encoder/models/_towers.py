"""Vision and text towers as torch modules, which backends move to a device, compile and export."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from clip_image_encoder.errors import ContractError
from clip_image_encoder.models._attention import Attend
from clip_image_encoder.protocols import Output

__all__ = ["TextTower", "VisionTower", "bare", "build", "linear_of"]

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
        quick_features: Function like `features` that returns the same of less work, for the CPU and for graphs; the
            function that computes attention comes first. None, the default, if the family has none.

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
        quick_features: Callable[[Attend, Any, Tensor, Output], Tensor] | None = None,
    ) -> None:
        super().__init__()
        _check_filled(model)
        self.model = model
        self.features = features
        self.dimension = dimension
        self.pixels = pixels
        self.prepared: nn.Module = nn.Identity()
        self.quick_features = quick_features

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return the features of pixels `(n, H, W, 3)` in 0..255."""
        return self.features(self.model, self.prepared(pixels), output)

    def become_quick(self, attend: Attend) -> None:
        """Compute the features by `quick_features` from now on, if the family has it.

        Args:
            attend: Function that computes attention.
        """
        if self.quick_features:
            self.features = partial(self.quick_features, attend)


class TextTower(nn.Module):
    """A text tower, which turns token ids into one vector for each text.

    Args:
        model: Network with its weights.
        vectors: Function of the model, token ids `(n, length)` and their mask or None; returns `(n, d)`.
        dimension: Length d of a vector.
        quick_vectors: Function like `vectors` that returns the same of less work, for the CPU, where it also saves most
            of Python's overhead for a single text, and for graphs; the function that computes attention comes first.
            None, the default, if the family has none.

    Raises:
        ContractError: A parameter or buffer of the model has no value.
    """

    def __init__(
        self,
        model: nn.Module,
        vectors: Callable[[Any, Tensor, Tensor | None], Tensor],
        *,
        dimension: int,
        quick_vectors: Callable[[Attend, Any, Tensor, Tensor | None], Tensor] | None = None,
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

    def become_quick(self, attend: Attend) -> None:
        """Compute the vectors by `quick_vectors` from now on, if the family has it.

        Args:
            attend: Function that computes attention.
        """
        if self.quick_vectors:
            self.vectors = partial(self.quick_vectors, attend)


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
