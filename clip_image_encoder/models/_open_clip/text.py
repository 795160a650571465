"""Text towers of open_clip's own text transformers: CLIP's with causal attention, SigLIP's without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._family import TextSpec, Weights
from clip_image_encoder.models._open_clip import package
from clip_image_encoder.models._open_clip.names import BLOCKS, activation, epsilon, knows_only, one_of_three, transposed
from clip_image_encoder.models._open_clip.texts import cleaning_of, tokenizer_of
from clip_image_encoder.models._transformers import build_model

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._attention import Attend
    from clip_image_encoder.models._towers import TextTower

__all__ = ["text_spec"]

_DEFAULTS: dict[str, Any] = {
    "context_length": 77,
    "vocab_size": 49408,
    "width": 512,
    "heads": 8,
    "layers": 12,
    "mlp_ratio": 4.0,
    "pool_type": "argmax",
    "eos_id": 2,
    "proj_type": "linear",
    "proj_bias": False,
    "no_causal_mask": False,
}
_TOKENIZER = ("hf_tokenizer_name", "tokenizer_mode", "tokenizer_kwargs")
_KNOWN = frozenset({*_DEFAULTS, *_TOKENIZER, "act_kwargs", "norm_kwargs", "pad_id", "output_tokens"})
# Fields with "hf_" set up a tower of transformers, which hf_model_name names; without that they mean nothing.
_UNUSED = ("hf_model_pretrained", "hf_proj_type", "hf_pooler_type")
_NAMES = (
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^embeddings\.token_embedding\.", "token_embedding."),
    (r"^final_layer_norm\.", "ln_final."),
    *BLOCKS,
)
_PREFIXES = ("text.", "")  # of models with and without a class for the text tower


def text_spec(model: Mapping[str, Any]) -> TextSpec:
    """Return the text tower of a `model_cfg`."""
    values = _values(model["text_cfg"])
    is_known = _knows(values)
    # Padding to the longest text gives the same vectors: with causal attention no token attends to it, and CLIP's
    # padding id is not the end of a text.
    is_cut = is_known and not values["no_causal_mask"] and not values.get("hf_tokenizer_name")
    return TextSpec(
        max_length=int(values["context_length"]),
        padding="longest" if is_cut and values["pool_type"] in ("argmax", "eos", "first") else "max_length",
        clean=cleaning_of(values),
        compared_by="softmax" if model.get("init_logit_bias") is None else "sigmoid",
        tokenizer=tokenizer_of(values),
        through=None if is_known else package.NAME,
        load=partial(_load, model) if is_known else partial(package.load_text, model),
    )


def _values(text: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: value for key, value in text.items() if value is not None and key not in _UNUSED}
    return {**_DEFAULTS, **said}


def _knows(values: dict[str, Any]) -> bool:
    return (
        knows_only(_KNOWN, values)
        and values["pool_type"] in ("argmax", "eos", "first", "last")
        and values["proj_type"] in ("linear", "none")
        and activation(values, quick_gelu=False) is not None
        and epsilon(values) is not None
    )


def _load(model_cfg: Mapping[str, Any], weights: Weights) -> TextTower:
    from torch import nn

    from clip_image_encoder.models._towers import TextTower, bare, build

    values = _values(model_cfg["text_cfg"])
    kind = "SiglipTextModel" if values["no_causal_mask"] else "CLIPTextModelWithProjection"
    model = build_model(kind, _config(values, model_cfg), None, name=weights.name)
    tower = bare(model, "text_model")
    if values["no_causal_mask"]:
        tower.head = nn.Identity()
    weights.fill(tower, prefixes=_PREFIXES, old_names=_NAMES, part=one_of_three)
    projection: nn.Module = nn.Identity()
    if values["proj_type"] == "linear":
        width, has_bias = values["width"], values["proj_bias"]
        projection = build(lambda: nn.Linear(width, model_cfg["embed_dim"], bias=has_bias))
        names = ((r"^(weight|bias)$", r"text_projection.\1" if has_bias else "text_projection"),)
        weights.fill(projection, prefixes=_PREFIXES, old_names=names, part=transposed)
    both = nn.ModuleDict({"tower": tower, "projection": projection})
    pooled = partial(_places, pool_type=values["pool_type"], end=values["eos_id"])
    return TextTower(
        both,
        partial(_vectors, pooled),
        dimension=model_cfg["embed_dim"],
        quick_vectors=partial(_quick_vectors, pooled, not values["no_causal_mask"]),
    )


def _config(values: Mapping[str, Any], model_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tower's config with transformers' names of the fields."""
    return {
        "hidden_size": values["width"],
        "intermediate_size": int(values["width"] * values["mlp_ratio"]),
        "num_hidden_layers": values["layers"],
        "num_attention_heads": values["heads"],
        "vocab_size": values["vocab_size"],
        "max_position_embeddings": values["context_length"],
        "hidden_act": activation(dict(values), quick_gelu=model_cfg.get("quick_gelu", False)),
        "layer_norm_eps": epsilon(dict(values)),
        "projection_dim": model_cfg["embed_dim"],
        # transformers pools by this id; its pooled output is not used.
        "eos_token_id": 2,
    }


def _vectors(places: Callable[[Tensor], Tensor], model: Any, token_ids: Tensor, _mask: Tensor | None) -> Tensor:
    import torch

    tokens = model["tower"](input_ids=token_ids).last_hidden_state
    texts = torch.arange(len(tokens), device=tokens.device)
    vectors: Tensor = model["projection"](tokens[texts, places(token_ids)])
    return vectors


def _quick_vectors(
    places: Callable[[Tensor], Tensor],
    is_causal: bool,
    attend: Attend,
    model: Any,
    token_ids: Tensor,
    _mask: Tensor | None,
) -> Tensor:
    from clip_image_encoder.models._quick_texts import token_of_text

    tokens = token_of_text(attend, model["tower"], token_ids, places(token_ids), None, is_causal=is_causal)
    vectors: Tensor = model["projection"](tokens)
    return vectors


def _places(token_ids: Tensor, *, pool_type: str, end: int) -> Tensor:
    """Return the place `(n,)` in each text of the token that its vector is made of."""
    if pool_type == "argmax":  # the end of a text has the highest id of CLIP's vocabulary
        return token_ids.argmax(dim=-1)
    if pool_type == "eos":
        return (token_ids == end).int().argmax(dim=-1)
    return token_ids.new_full((len(token_ids),), 0 if pool_type == "first" else token_ids.shape[1] - 1)
