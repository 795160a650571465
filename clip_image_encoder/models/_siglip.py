"""What SigLIP and SigLIP 2 share: the text tower, and a vision tower whose pooling head may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import TextSpec, Weights
from clip_image_encoder.models._siglip_texts import siglip_texts
from clip_image_encoder.models._transformers import build_model, part_of
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._attention import Attend
    from clip_image_encoder.models._towers import TextTower

__all__ = ["outputs_of", "pooled_or_patches", "text_spec"]


def outputs_of(values: Mapping[str, Any]) -> frozenset[Output]:
    """Return what a vision tower can return: "tokens" only if it was saved without its pooling head."""
    return frozenset({"tokens"}) if values.get("vision_use_head") is False else frozenset({"pooled", "tokens"})


def pooled_or_patches(features: Any, output: Output) -> Tensor:
    """Return the part of a model's result that is the wanted output: `(n, d)`, or `(n, patches, d)` for "tokens"."""
    wanted: Tensor = features.pooler_output if output == "pooled" else features.last_hidden_state
    return wanted


def text_spec(kind: str, config: Mapping[str, Any], part: str | None) -> TextSpec:
    """Return a text tower whose vector is the last token, through a linear head.

    Args:
        kind: Name of transformers' class, such as "SiglipTextModel".
        config: Parsed `config.json`.
        part: Key of the tower in the config of a model with both towers; None means that all of it is the tower's.
    """
    return TextSpec(
        max_length=int(part_of(config, part).get("max_position_embeddings", 64)),
        # The tower was trained on texts padded to their full length, and attends to the padding.
        padding="max_length",
        compared_by="sigmoid",
        tokenizer=siglip_texts,
        load=partial(_load_text, kind, config, part),
    )


def _load_text(kind: str, config: Mapping[str, Any], part: str | None, weights: Weights) -> TextTower:
    from clip_image_encoder.models._towers import TextTower, bare

    model = build_model(kind, config, part, name=weights.name)
    weights.fill(bare(model, "text_model"), prefixes=("text_model.", ""))
    return TextTower(model, _vectors, dimension=model.config.projection_size, quick_vectors=_quick_vectors)


def _vectors(model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    vectors: Tensor = model(input_ids=token_ids, attention_mask=attention_mask).pooler_output
    return vectors


def _quick_vectors(attend: Attend, model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    from clip_image_encoder.models._quick_texts import token_of_text
    from clip_image_encoder.models._towers import bare

    text = bare(model, "text_model")
    places = token_ids.new_full(token_ids.shape[:1], token_ids.shape[1] - 1)
    token = token_of_text(attend, text, token_ids, places, attention_mask, is_causal=False)
    vectors: Tensor = text.head(token)
    return vectors
