"""ALIGN (Jia et al. 2021, "Scaling Up Visual and Vision-Language Representation Learning With Noisy Text Supervision").

Images: the mean over the last feature map of an EfficientNet; there are no tokens. Texts: BERT's first token,
projected.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.models._first_token import load_text
from clip_image_encoder.models._transformers import build_model, part_of, side_lengths
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["FAMILY"]

_TRAINED_LENGTH = 64
"""Number of tokens of a text in training, as in transformers' processor; the tower has positions for more."""


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    part = "vision_config" if config["model_type"] == "align" else None
    return VisionSpec(
        # The published config has EfficientNet-B7's 600 pixels, and its image processor makes 289.
        image_size=side_lengths(part_of(config, part).get("image_size", 600)),
        patch_size=1,
        any_size=True,
        outputs=frozenset({"pooled"}),
        prefix_tokens=0,
        # A config of both towers says it; that of the vision tower alone doesn't, and its last block decides.
        dimension=int(config.get("projection_dim", 640)) if part else None,
        load=partial(_load_vision, config, part),
    )


def _load_vision(config: Mapping[str, Any], part: str | None, weights: Weights) -> VisionTower:
    from torch import nn

    from clip_image_encoder.models._towers import VisionTower

    model = build_model("AlignVisionModel", config, part, name=weights.name)
    weights.fill(model, prefixes=("vision_model.", ""))
    # transformers pools by a window that is larger than any map and is cut to it, which exported graphs don't do.
    model.pooler = nn.AdaptiveAvgPool2d(1) if model.config.pooling_type == "mean" else nn.AdaptiveMaxPool2d(1)
    dimension = model.encoder.blocks[-1].projection.project_conv.out_channels
    return VisionTower(model, _features, dimension=dimension, pixels="normalized")


def _features(model: Any, pixels: Tensor, _output: Output) -> Tensor:
    features: Tensor = model(pixel_values=pixels).pooler_output
    return features


def _text(config: Mapping[str, Any]) -> TextSpec:
    positions = int(part_of(config, "text_config").get("max_position_embeddings", 512))
    return TextSpec(max_length=min(_TRAINED_LENGTH, positions), padding="longest", load=partial(_load_text, config))


def _load_text(config: Mapping[str, Any], weights: Weights) -> TextTower:
    return load_text("AlignTextModel", config, weights, dimension=config.get("projection_dim", 640), bias=True)


# A text tower alone, align_text_model, has no projection: its vectors can't be compared with those of images.
FAMILY = Family(
    name="ALIGN",
    model_types={"align": "both", "align_vision_model": "vision"},
    vision=_vision,
    text=_text,
    image_processor="EfficientNetImageProcessor",
)
