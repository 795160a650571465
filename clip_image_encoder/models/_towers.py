"""Towers as modules: what torch moves to a device, compiles and exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from clip_image_encoder.errors import ContractError
from clip_image_encoder.protocols import Output

__all__ = ["OfClassToken", "TextTower", "VisionTower", "bare", "build", "use_plain_attention"]

_Module = TypeVar("_Module", bound=nn.Module)


class VisionTower(nn.Module):
    """A vision tower from pixels to features.

    Args:
        model: The network, with its weights.
        features: Called with the model, pixels `(n, H, W, 3)` in 0..255 and the output that is wanted; returns
            `(n, d)` for "pooled" and `(n, prefix_tokens + patches, d)` for "tokens".
        dimension: Length of a vector, d.
        pixels: "bytes" is what is said above, for a network whose patch embedding takes over mean and std;
            "normalized" gives `features` normalized pixels `(n, 3, H, W)` in the dtype of the weights, for a network
            that begins with anything else.
        leave_pooled: Called with the model, changes it in place to a faster one that gives the same "pooled" and
            nothing else, for graphs; None where the family has none.

    Attributes:
        prepared: Module that the pixels pass before `features`; the backend puts normalizing there, if it has to.
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
        """Return features for pixels `(n, H, W, 3)` in 0..255."""
        return self.features(self.model, self.prepared(pixels), output)


class OfClassToken(nn.Module):
    """A layer that is given the first of an image's tokens alone.

    Args:
        layer: From `(n, 1, d)` to any shape.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        """Return what the layer makes of the first token, for `(n, tokens, d)`."""
        result: Tensor = self.layer(tokens[:, :1])
        return result


class TextTower(nn.Module):
    """A text tower from token ids to vectors.

    Args:
        model: The network, with its weights.
        vectors: Called with the model, token ids `(n, length)` and their mask or None; returns `(n, d)`.
        dimension: Length of a vector, d.
        quick_vectors: Called like `vectors`, gives the same of less work; for the CPU, where it also saves much of
            what Python takes for a single text. None where the family has none.
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
        """Return `(n, d)` for token ids `(n, length)` and their mask."""
        return self.vectors(self.model, token_ids, attention_mask)


def build(module: Callable[[], _Module]) -> _Module:
    """Construct a module without memory, random numbers or initialization; its weights come later.

    Args:
        module: Makes the module; called under torch's meta device, which holds for this thread only.

    Example:
        >>> from torch import nn
        >>> from clip_image_encoder.models import build
        >>> build(lambda: nn.Linear(8, 4)).weight.device
        device(type='meta')
    """
    with torch.device("meta"):
        return module().eval()


def _check_filled(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_meta:
            raise ContractError(
                f"{name} of a tower has no value: what no file stores, such as a buffer that is computed, has to be "
                "given its value after Weights.fill"
            )


def bare(model: nn.Module, name: str) -> Any:
    """Return the tower that a model of transformers 4 wraps under a name; transformers 5 doesn't wrap it."""
    return getattr(model, name, model)


def use_plain_attention(tower: nn.Module) -> None:
    """Let the networks of transformers in a tower compute attention as two products with a softmax between them.

    That is in place of torch's one operator for it, and gives the same.
    """
    for module in tower.modules():
        choose: Any = getattr(module, "set_attn_implementation", None)
        if choose:  # a network of transformers
            choose("eager")
