"""Text towers whose vector is BERT's first token, projected; several families have one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import Weights
from clip_image_encoder.models._transformers import build_model

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clip_image_encoder.models._towers import TextTower

__all__ = ["load_text", "projection"]


def load_text(
    kind: str,
    config: Mapping[str, Any],
    weights: Weights,
    *,
    dimension: int,
    prefix: str = "text_model.",
    old_names: Sequence[tuple[str, str]] = (),
    projected_by: str = "text_projection.",
    bias: bool = False,
    width: str = "hidden_size",
) -> TextTower:
    """Return the text tower of a checkpoint that has both towers.

    Args:
        kind: Name of transformers' class, such as "ChineseCLIPTextModel".
        config: Parsed `config.json`.
        weights: Tensors of the checkpoint.
        dimension: Length of a vector.
        prefix: Prefix of the names of the tower's tensors in the file; "text_model." by default.
        old_names: Regular expressions and replacements for the names of older files, as `Weights.fill` takes them.
        projected_by: Prefix of the names of the projection's tensors in the file; "text_projection." by default.
        bias: Whether the projection has a bias; False by default.
        width: Field of the tower's config with the length of a token; "hidden_size" by default.
    """
    from clip_image_encoder.models._towers import TextTower

    model = build_model(kind, config, "text_config", name=weights.name)
    # BERT's own pooling, a layer on top of the first token, is not used.
    model.pooler = None
    weights.fill(model, prefixes=(prefix,), old_names=old_names)
    layer = projection(weights, projected_by, width=getattr(model.config, width), dimension=dimension, bias=bias)
    model.add_module("projection", layer)
    return TextTower(model, _vectors, dimension=dimension)


def projection(weights: Weights, prefix: str, *, width: int, dimension: int, bias: bool) -> nn.Linear:
    """Return the layer that projects a tower's tokens into the joint space.

    Args:
        weights: Tensors of the checkpoint.
        prefix: Prefix of the names of the layer's tensors in the file.
        width: Length of a token.
        dimension: Length of a vector.
        bias: Whether the layer has a bias.
    """
    from torch import nn

    from clip_image_encoder.models._towers import build

    layer = build(lambda: nn.Linear(width, dimension, bias=bias))
    weights.fill(layer, prefixes=(prefix,))
    return layer


def _vectors(model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    tokens = model(input_ids=token_ids, attention_mask=attention_mask).last_hidden_state
    vectors: Tensor = model.projection(tokens[:, 0])
    return vectors
