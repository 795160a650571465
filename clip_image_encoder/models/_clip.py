"""CLIP's vision and text tower, each with a projection into the joint space; several families have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.models._family import TextSpec, VisionSpec, Weights
from clip_image_encoder.models._transformers import build_model, part_of, side_lengths
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._attention import Attend
    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["plain", "text_spec", "vision_spec"]


def vision_spec(
    kind: str,
    config: Mapping[str, Any],
    part: str | None,
    *,
    prefix: str = "",
    old_names: Sequence[tuple[str, str]] = (),
    any_size: bool = False,
) -> VisionSpec:
    """Return a vision tower whose vector is the class token after the last layer norm, projected.

    Args:
        kind: Name of transformers' class, such as "CLIPVisionModelWithProjection".
        config: Parsed `config.json`.
        part: Key of the tower in the config of a model with both towers; None means that all of it is the tower's.
        prefix: Prefix of the names in files of a larger model that has the towers as a part; "" by default.
        old_names: Regular expressions and replacements for the names of older files, as `Weights.fill` takes them.
        any_size: Whether images may have another size than the config's, for which the positions are resized.
    """
    config = plain(config)
    values = part_of(config, part)
    # A file of one tower has the projection if it was saved by `kind`. Older files don't say by which class they were
    # saved; loading them looks whether the projection is there.
    is_projected = part is not None or kind in (config.get("architectures") or ())
    return VisionSpec(
        image_size=side_lengths(values.get("image_size", 224)),
        patch_size=int(values.get("patch_size", 32)),
        any_size=any_size,
        prefix_tokens=1,
        dimension=_dimension(config, values) if is_projected else None,
        load=partial(_load_vision, kind, config, part, is_projected, prefix, old_names),
    )


def _dimension(config: Mapping[str, Any], values: Mapping[str, Any]) -> int:
    """Return the length of a vector, which the top level of a config says if it has both towers."""
    return int(config.get("projection_dim", values.get("projection_dim", 512)))


def text_spec(kind: str, config: Mapping[str, Any], part: str | None, *, prefix: str = "") -> TextSpec:
    """Return a text tower whose vector is the end-of-text token after the last layer norm, projected.

    Args:
        kind: Name of transformers' class, such as "CLIPTextModelWithProjection".
        config: Parsed `config.json`.
        part: Key of the tower in the config of a model with both towers; None means that all of it is the tower's.
        prefix: Prefix of the names in files of a larger model that has the towers as a part; "" by default.
    """
    config = plain(config)
    length = int(part_of(config, part).get("max_position_embeddings", 77))
    # No token attends to a later one, so that padding behind a text changes nothing.
    return TextSpec(max_length=length, padding="longest", load=partial(_load_text, kind, config, part, prefix))


def plain(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a config in which `vision_config_dict` and `text_config_dict` have replaced `vision_config` and so on.

    Files of CLIP's first versions have these keys; in transformers they take precedence over today's.
    """
    parts = ("vision_config", "text_config")
    old = {part: config[f"{part}_dict"] for part in parts if config.get(f"{part}_dict") is not None}
    return {**config, **old}


def _load_vision(
    kind: str,
    config: Mapping[str, Any],
    part: str | None,
    is_projected: bool,
    prefix: str,
    old_names: Sequence[tuple[str, str]],
    weights: Weights,
) -> VisionTower:
    from torch import nn

    from clip_image_encoder.models._towers import VisionTower

    model = build_model(kind, config, part, name=weights.name)
    prefixes = ("vision_model.", f"{prefix}vision_model.", "")
    weights.fill(model.vision_model, prefixes=prefixes, old_names=old_names)
    if is_projected or "visual_projection.weight" in weights:
        weights.fill(model.visual_projection, prefixes=("visual_projection.", f"{prefix}visual_projection."))
        dimension = model.config.projection_dim
    else:
        model.add_module("visual_projection", nn.Identity())
        dimension = model.config.hidden_size
    return VisionTower(model, _features, dimension=dimension, quick_features=_quick_features)


def _features(model: Any, pixels: Tensor, output: Output) -> Tensor:
    image = cut_to_image(pixels, model.config.patch_size)
    # Resizes the positions for images of another size than the config's, and leaves them for all others.
    features = model.vision_model(pixel_values=image, interpolate_pos_encoding=True)
    if output == "pooled":
        unprojected = features.pooler_output
    else:
        unprojected = model.vision_model.post_layernorm(features.last_hidden_state)
    projected: Tensor = model.visual_projection(unprojected)
    return projected


def _quick_features(attend: Attend, model: Any, pixels: Tensor, output: Output) -> Tensor:
    normalized = model.vision_model.post_layernorm(class_token_or_all(attend, model, pixels, output))
    projected: Tensor = model.visual_projection(normalized)
    return projected


def class_token_or_all(attend: Attend, model: Any, pixels: Tensor, output: Output) -> Tensor:
    """Return what all layers make of the class token, `(n, width)`, or for "tokens" of all, `(n, tokens, width)`.

    Args:
        attend: Function that computes attention.
        model: Model of transformers with CLIP's vision tower.
        pixels: Pixels `(n, H, W, 3)` in 0..255.
        output: Wanted output.
    """
    from clip_image_encoder.models._layers import all_tokens, one_token

    tower = model.vision_model
    embedded = tower.embeddings(cut_to_image(pixels, model.config.patch_size), interpolate_pos_encoding=True)
    tokens = tower.pre_layrnorm(embedded)
    if output == "tokens":
        return all_tokens(tower.encoder.layers, tokens, attend)
    first = pixels.new_zeros(len(pixels)).long()
    return one_token(tower.encoder.layers, tokens, first, attend)


def _load_text(kind: str, config: Mapping[str, Any], part: str | None, prefix: str, weights: Weights) -> TextTower:
    from clip_image_encoder.models._towers import TextTower

    model = build_model(kind, config, part, name=weights.name)
    weights.fill(model.text_model, prefixes=("text_model.", f"{prefix}text_model.", ""))
    weights.fill(model.text_projection, prefixes=("text_projection.", f"{prefix}text_projection."))
    end = model.text_model.eos_token_id
    # Older configs of CLIP have the end token 2, which is wrong (pull request 24773 of transformers); the end is then
    # the token with the highest id. In MetaCLIP 2 the id is right.
    is_highest = end == 2 and kind == "CLIPTextModelWithProjection"
    quick = partial(_quick_vectors, None if is_highest else end)
    return TextTower(model, _vectors, dimension=model.config.projection_dim, quick_vectors=quick)


def _vectors(model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    vectors: Tensor = model(input_ids=token_ids, attention_mask=attention_mask).text_embeds
    return vectors


def _quick_vectors(
    end: int | None, attend: Attend, model: Any, token_ids: Tensor, attention_mask: Tensor | None
) -> Tensor:
    from clip_image_encoder.models._quick_texts import token_of_text

    places = (token_ids if end is None else (token_ids == end).int()).argmax(dim=-1)
    token = token_of_text(attend, model.text_model, token_ids, places, attention_mask, is_causal=True)
    vectors: Tensor = model.text_projection(token)
    return vectors
