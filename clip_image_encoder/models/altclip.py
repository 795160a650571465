"""AltCLIP (Chen et al. 2022, "AltCLIP: Altering the Language Encoder in CLIP for Extended Language Capabilities").

Images: like CLIP's. Texts: XLM-RoBERTa's first token, through a layer norm, a linear layer and the projection.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._clip import plain, vision_spec
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.models._first_token import load_text
from clip_image_encoder.models._transformers import part_of

if TYPE_CHECKING:
    from clip_image_encoder.models._towers import TextTower

__all__ = ["FAMILY"]

_DIMENSION = 768
_OLD_NAMES = ((r"\bencoder\.layers\.", "encoder.layer."),)
"""Names of layers in files: always in the text tower, and in the vision tower if transformers 5 wrote the file."""


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    if config["model_type"] == "altclip_vision_model":
        return vision_spec("CLIPVisionModelWithProjection", config, None)
    # The length of a vector is the only default that is not CLIP's.
    complete = {"projection_dim": _DIMENSION, **config}
    return vision_spec("CLIPVisionModelWithProjection", complete, "vision_config", old_names=_OLD_NAMES)


def _text(config: Mapping[str, Any]) -> TextSpec:
    config = plain(config)
    values = part_of(config, "text_config")
    # Positions are counted from the padding's id + 1, as in RoBERTa.
    length = int(values.get("max_position_embeddings", 514)) - int(values.get("pad_token_id", 1)) - 1
    return TextSpec(max_length=length, padding="longest", load=partial(_load_text, config))


def _load_text(config: Mapping[str, Any], weights: Weights) -> TextTower:
    return load_text(
        "AltCLIPTextModel",
        config,
        weights,
        dimension=config.get("projection_dim", _DIMENSION),
        old_names=_OLD_NAMES,
        width="project_dim",
    )


# A text tower alone, altclip_text_model, has no projection: its vectors can't be compared with those of images.
FAMILY = Family(
    name="AltCLIP",
    model_types={"altclip": "both", "altclip_vision_model": "vision"},
    vision=_vision,
    text=_text,
)
