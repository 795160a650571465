"""SigLIP 2 for any aspect ratio, "NaFlex" (Tschannen et al. 2025), run on one grid of patches for all images.

Images: an attention head over the patches; there is no class token. Texts: the last token through a linear head;
they are padded to their full length, which the tower attends to, since it was trained so.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._configs import part_of, tower_config
from clip_image_encoder.models._cut import cut
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["FAMILY"]


def _vision(config: Mapping[str, Any]) -> VisionSpec:
    part = "vision_config" if config["model_type"] == "siglip2" else None
    values = part_of(config, part)
    patch = int(values.get("patch_size", 16))
    side = int(int(values.get("num_patches", 256)) ** 0.5) * patch
    return VisionSpec(
        image_size=(side, side),
        patch_size=patch,
        any_size=True,
        # A tower that was saved without its head has tokens only.
        outputs=frozenset({"pooled", "tokens"})
        if values.get("vision_use_head") is not False
        else frozenset({"tokens"}),
        prefix_tokens=0,
        load=partial(_load_vision, config, part),
    )


def _load_vision(config: Mapping[str, Any], part: str | None, weights: Weights) -> VisionTower:
    from transformers import Siglip2VisionModel

    from clip_image_encoder.models._grid import GridEmbeddings
    from clip_image_encoder.models._towers import VisionTower, bare, build

    tower = tower_config("Siglip2VisionConfig", config, part, name=weights.name)
    model = build(lambda: Siglip2VisionModel(tower))
    inner = bare(model, "vision_model")
    weights.fill(inner, prefixes=("vision_model.", ""))
    inner.embeddings = GridEmbeddings(inner.embeddings)
    return VisionTower(model, _features, dimension=tower.hidden_size)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    size = model.config.patch_size
    grid = (pixels.shape[1] // size, pixels.shape[2] // size)
    features = model(pixel_values=cut(pixels, size), pixel_attention_mask=None, spatial_shapes=grid)
    wanted: Tensor = features.pooler_output if output == "pooled" else features.last_hidden_state
    return wanted


def _text(config: Mapping[str, Any]) -> TextSpec:
    part = "text_config" if config["model_type"] == "siglip2" else None
    length = int(part_of(config, part).get("max_position_embeddings", 64))
    return TextSpec(max_length=length, padding="max_length", load=partial(_load_text, config, part))


def _load_text(config: Mapping[str, Any], part: str | None, weights: Weights) -> TextTower:
    from transformers import Siglip2TextModel

    from clip_image_encoder.models._towers import TextTower, bare, build

    tower = tower_config("Siglip2TextConfig", config, part, name=weights.name)
    model = build(lambda: Siglip2TextModel(tower))
    weights.fill(bare(model, "text_model"), prefixes=("text_model.", ""))
    return TextTower(model, _vectors, dimension=tower.projection_size)


def _vectors(model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    vectors: Tensor = model(input_ids=token_ids, attention_mask=attention_mask).pooler_output
    return vectors


FAMILY = Family(
    name="SigLIP2",
    model_types={"siglip2": "both", "siglip2_vision_model": "vision", "siglip2_text_model": "text"},
    vision=_vision,
    text=_text,
)
