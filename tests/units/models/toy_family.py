"""A model family as another package would bring it: all of it in this file, which names nothing but what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from clip_image_encoder.models import Family, TextSpec, TextTower, VisionSpec, VisionTower, Weights, build, cut
from clip_image_encoder.protocols import Output

__all__ = ["FAMILY", "ToyImages", "ToyTexts", "lowered"]


class ToyImages(nn.Module):
    """Patches, and before them two tokens that have seen all of them."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.patch = patch
        self.patch_embedding = nn.Linear(3 * patch * patch, width)
        self.prefix = nn.Parameter(torch.zeros(2, width))
        self.mixed = nn.Linear(width, width)

    def forward(self, patches: Tensor) -> Tensor:
        """Return `(n, 2 + patches, width)` for `(n, patches, patch * patch * 3)`."""
        embedded = self.patch_embedding(patches)
        seen = self.prefix + embedded.mean(dim=1, keepdim=True)
        tokens: Tensor = torch.tanh(self.mixed(torch.cat([seen, embedded], dim=1)))
        return tokens


class ToyTexts(nn.Module):
    """Words, each with a weight of its own at each place, padding included."""

    def __init__(self, vocabulary: int, length: int, width: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.mixed = nn.Linear(length * width, width)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Return `(n, width)` for `(n, length)`."""
        vectors: Tensor = torch.tanh(self.mixed(self.words(token_ids).flatten(1)))
        return vectors


def lowered(text: str) -> str:
    """Return a text as the training saw it."""
    return text.lower()


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    return VisionSpec(
        image_size=(config["side"], config["side"]),
        patch_size=config["patch"],
        any_size=True,
        prefix_tokens=2,
        load=partial(_load_vision, config),
    )


def _load_vision(config: Mapping[str, Any], weights: Weights) -> VisionTower:
    model = build(lambda: ToyImages(config["patch"], config["width"]))
    weights.fill(model, prefixes=("images.",))
    return VisionTower(model, _features, dimension=config["width"])


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    tokens: Tensor = model(cut(pixels, model.patch))
    return tokens[:, :2].mean(dim=1) if output == "pooled" else tokens


def _text(config: Mapping[str, Any]) -> TextSpec:
    return TextSpec(max_length=config["length"], padding="max_length", clean=lowered, load=partial(_load_text, config))


def _load_text(config: Mapping[str, Any], weights: Weights) -> TextTower:
    model = build(lambda: ToyTexts(config["vocabulary"], config["length"], config["width"]))
    weights.fill(model, prefixes=("texts.",))
    return TextTower(model, _vectors, dimension=config["width"])


def _vectors(model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    vectors: Tensor = model(token_ids)
    return vectors


FAMILY = Family(name="Toy", model_types={"toy": "both"}, vision=_vision, text=_text)
