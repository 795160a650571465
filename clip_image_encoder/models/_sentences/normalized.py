"""Towers that scale their vectors to length 1, for checkpoints that list this as a part of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import TextSpec, VisionSpec, Weights
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._attention import Attend
    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["normalized_text", "normalized_vision", "unit"]


def unit(vectors: Tensor) -> Tensor:
    """Return vectors `(n, d)` scaled to length 1; a vector of zeros stays as it is."""
    scaled: Tensor = vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    return scaled


def normalized_vision(spec: VisionSpec) -> VisionSpec:
    """Return a vision tower that scales its vectors to length 1; its tokens stay as they are."""
    return replace(spec, load=partial(_load_normalized_vision, spec.load))


def _load_normalized_vision(load: Callable[[Weights], VisionTower], weights: Weights) -> VisionTower:
    tower = load(weights)
    tower.features = partial(_unit_features, tower.features)
    if tower.quick_features:
        tower.quick_features = partial(_unit_quick_features, tower.quick_features)
    return tower


def _unit_features(
    features: Callable[[Any, Tensor, Output], Tensor], model: Any, pixels: Tensor, output: Output
) -> Tensor:
    values = features(model, pixels, output)
    return unit(values) if output == "pooled" else values


def _unit_quick_features(
    features: Callable[[Attend, Any, Tensor, Output], Tensor],
    attend: Attend,
    model: Any,
    pixels: Tensor,
    output: Output,
) -> Tensor:
    return _unit_features(partial(features, attend), model, pixels, output)


def normalized_text(spec: TextSpec) -> TextSpec:
    """Return a text tower that scales its vectors to length 1."""
    return replace(spec, load=partial(_load_normalized_text, spec.load))


def _load_normalized_text(load: Callable[[Weights], TextTower], weights: Weights) -> TextTower:
    tower = load(weights)
    tower.vectors = partial(_unit_vectors, tower.vectors)
    if tower.quick_vectors:
        tower.quick_vectors = partial(_unit_quick_vectors, tower.quick_vectors)
    return tower


def _unit_vectors(
    vectors: Callable[[Any, Tensor, Tensor | None], Tensor], model: Any, token_ids: Tensor, mask: Tensor | None
) -> Tensor:
    return unit(vectors(model, token_ids, mask))


def _unit_quick_vectors(
    vectors: Callable[[Attend, Any, Tensor, Tensor | None], Tensor],
    attend: Attend,
    model: Any,
    token_ids: Tensor,
    mask: Tensor | None,
) -> Tensor:
    return unit(vectors(attend, model, token_ids, mask))
