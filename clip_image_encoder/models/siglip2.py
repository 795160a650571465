"""SigLIP 2 for any aspect ratio, "NaFlex" (Tschannen et al. 2025, "SigLIP 2"); the images of a batch have one size.

Images: an attention head pools the patch tokens; there is no class token. Texts: the last token, through a linear head.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._cut import cut
from clip_image_encoder.models._family import Family, TextSpec, VisionSpec, Weights
from clip_image_encoder.models._siglip import outputs_of, pooled_or_patches, text_spec
from clip_image_encoder.models._transformers import build_model, part_of
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._towers import VisionTower

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
        outputs=outputs_of(values),
        prefix_tokens=0,
        dimension=int(values.get("hidden_size", 768)),
        load=partial(_load_vision, config, part),
    )


def _load_vision(config: Mapping[str, Any], part: str | None, weights: Weights) -> VisionTower:
    from clip_image_encoder.models._grid import GridEmbeddings
    from clip_image_encoder.models._towers import VisionTower, bare

    model = build_model("Siglip2VisionModel", config, part, name=weights.name)
    tower = bare(model, "vision_model")
    weights.fill(tower, prefixes=("vision_model.", ""))
    tower.embeddings = GridEmbeddings(tower.embeddings)
    return VisionTower(model, _features, dimension=model.config.hidden_size)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    size = model.config.patch_size
    grid = (pixels.shape[1] // size, pixels.shape[2] // size)
    features = model(pixel_values=cut(pixels, size), pixel_attention_mask=None, spatial_shapes=grid)
    return pooled_or_patches(features, output)


def _text(config: Mapping[str, Any]) -> TextSpec:
    return text_spec("Siglip2TextModel", config, "text_config" if config["model_type"] == "siglip2" else None)


FAMILY = Family(
    name="SigLIP2",
    model_types={"siglip2": "both", "siglip2_vision_model": "vision", "siglip2_text_model": "text"},
    vision=_vision,
    text=_text,
    image_processor="Siglip2ImageProcessor",
)
