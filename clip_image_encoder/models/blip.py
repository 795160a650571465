"""BLIP for search (Li et al. 2022, "BLIP: Bootstrapping Language-Image Pre-training").

Images and texts: the first token, through the projections of the contrastive loss (ITC). transformers'
`BlipForImageTextRetrieval` compares these vectors if its matching head, which needs an image and a text together, is
not used.

`BlipModel` has other projections on top of other tokens, which its `get_image_features` returns. No checkpoint was
trained with them, and in a BLIP for captions or questions they are random. So only checkpoints with the projections of
the retrieval model are supported.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.models._first_token import load_text, projection
from clip_image_encoder.models._transformers import build_model, part_of, side_lengths
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["FAMILY"]

_RETRIEVAL = "BlipForImageTextRetrieval"


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    values = part_of(config, "vision_config")
    return VisionSpec(
        image_size=side_lengths(values.get("image_size", 384)),
        patch_size=int(values.get("patch_size", 16)),
        prefix_tokens=1,
        dimension=_dimension(config),
        load=partial(_load_vision, config),
    )


def _load_vision(config: Mapping[str, Any], weights: Weights) -> VisionTower:
    from clip_image_encoder.models._towers import VisionTower

    _check_projected(config, weights)
    model = build_model("BlipVisionModel", config, "vision_config", name=weights.name)
    weights.fill(model, prefixes=("vision_model.",))
    width, dimension = model.config.hidden_size, _dimension(config)
    layer = projection(weights, "vision_proj.", width=width, dimension=dimension, bias=True)
    model.add_module("projection", layer)
    return VisionTower(model, _features, dimension=dimension)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    # The model's pooled output is not used: it passes the final layer norm a second time.
    tokens = model(pixel_values=cut_to_image(pixels, model.config.patch_size)).last_hidden_state
    features: Tensor = model.projection(tokens[:, 0] if output == "pooled" else tokens)
    return features


def _text(config: Mapping[str, Any]) -> TextSpec:
    length = int(part_of(config, "text_config").get("max_position_embeddings", 512))
    return TextSpec(max_length=length, padding="longest", load=partial(_load_text, config))


def _load_text(config: Mapping[str, Any], weights: Weights) -> TextTower:
    _check_projected(config, weights)
    # As an encoder, without the cross-attention to an image that a decoder has.
    values = {**part_of(config, "text_config"), "is_decoder": False}
    return load_text(
        "BlipTextModel",
        {**config, "text_config": values},
        weights,
        dimension=_dimension(config),
        prefix="text_encoder.",
        projected_by="text_proj.",
        bias=True,
    )


def _check_projected(config: Mapping[str, Any], weights: Weights) -> None:
    """Refuse a BLIP that was trained for something other than retrieval.

    Raises:
        CheckpointError: The checkpoint has no projections into a joint space of images and texts.
    """
    kinds = config.get("architectures") or ()
    if _RETRIEVAL in kinds or (not kinds and "vision_proj.weight" in weights):
        return
    kind = ", ".join(kinds) or "a BLIP of another purpose"
    raise CheckpointError(
        f"{weights.name}: {kind} has no space of images and texts; take a checkpoint of {_RETRIEVAL}, such as "
        "Salesforce/blip-itm-base-coco"
    )


def _dimension(config: Mapping[str, Any]) -> int:
    return int(config.get("image_text_hidden_size", 256))


FAMILY = Family(
    name="BLIP", model_types={"blip": "both"}, vision=_vision, text=_text, image_processor="BlipImageProcessor"
)
