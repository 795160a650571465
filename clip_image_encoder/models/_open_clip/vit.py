"""Vision towers of open_clip's own ViTs: CLIP's tower, with or without the first layer norm, with two poolings."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder.models._clip import class_token_or_all
from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.models._family import VisionSpec, Weights
from clip_image_encoder.models._open_clip.names import BLOCKS, activation, epsilon, knows_only, one_of_three, transposed
from clip_image_encoder.models._transformers import build_model
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

    from clip_image_encoder.models._attention import Attend
    from clip_image_encoder.models._towers import VisionTower

__all__ = ["knows", "vision_spec"]

_DEFAULTS: dict[str, Any] = {
    "image_size": 224,
    "patch_size": 16,
    "layers": 12,
    "width": 768,
    "head_width": 64,
    "mlp_ratio": 4.0,
    "pool_type": "tok",
    "pos_embed_type": "learnable",
    "no_ln_pre": False,
    "final_ln_after_pool": False,
}
# Fields with "timm_" set up a tower of timm, which timm_model_name names; without that they mean nothing. Patches are
# dropped (patch_dropout) in training only.
_KNOWN = frozenset({*_DEFAULTS, "act_kwargs", "norm_kwargs", "patch_dropout", "output_tokens"})
_UNUSED = ("timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "timm_drop_path", "timm_model_pretrained")
_NAMES = (
    (r"^vision_model\.", ""),
    (r"^embeddings\.class_embedding$", "class_embedding"),
    (r"^embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^embeddings\.patch_embedding\.", "conv1."),
    (r"^pre_layrnorm\.", "ln_pre."),
    (r"^post_layernorm\.", "ln_post."),
    (r"^visual_projection\.weight$", "proj"),
    *BLOCKS,
)


def knows(vision: Mapping[str, Any]) -> bool:
    """Tell whether a `vision_cfg` describes a ViT of open_clip's own whose settings are all supported."""
    values = _values(vision)
    sides = [values["image_size"], values["patch_size"], values["layers"]]
    return (
        knows_only(_KNOWN, values)
        and all(isinstance(side, int) for side in sides)
        and values["pool_type"] in ("tok", "avg")
        and values["pos_embed_type"] == "learnable"
        and activation(values, quick_gelu=False) is not None
        and epsilon(values) is not None
    )


def vision_spec(model: Mapping[str, Any]) -> VisionSpec:
    """Return the vision tower of a `model_cfg`."""
    values = _values(model["vision_cfg"])
    return VisionSpec(
        image_size=(values["image_size"], values["image_size"]),
        patch_size=values["patch_size"],
        prefix_tokens=1,
        dimension=model["embed_dim"],
        load=partial(_load, model),
    )


def _values(vision: Mapping[str, Any]) -> dict[str, Any]:
    said = {key: value for key, value in vision.items() if value is not None and key not in _UNUSED}
    return {**_DEFAULTS, **said}


def _load(model_cfg: Mapping[str, Any], weights: Weights) -> VisionTower:
    from torch import nn

    from clip_image_encoder.models._towers import VisionTower

    values = _values(model_cfg["vision_cfg"])
    config = {
        "hidden_size": values["width"],
        "intermediate_size": int(values["width"] * values["mlp_ratio"]),
        "num_hidden_layers": values["layers"],
        "num_attention_heads": values["width"] // values["head_width"],
        "image_size": values["image_size"],
        "patch_size": values["patch_size"],
        "hidden_act": activation(values, quick_gelu=model_cfg.get("quick_gelu", False)),
        "layer_norm_eps": epsilon(values),
        "projection_dim": model_cfg["embed_dim"],
    }
    model = build_model("CLIPVisionModelWithProjection", config, None, name=weights.name)
    if values["no_ln_pre"]:
        model.vision_model.pre_layrnorm = nn.Identity()
    weights.fill(model, prefixes=("visual.",), old_names=_NAMES, part=_part)
    pooling = values["pool_type"] == "avg", values["final_ln_after_pool"]
    return VisionTower(
        model,
        partial(_features, *pooling),
        dimension=model_cfg["embed_dim"],
        quick_features=partial(_quick_features, *pooling),
    )


def _part(name: str, source: str, tensor: Tensor) -> Tensor:
    return transposed(name, source, tensor) if source == "visual.proj" else one_of_three(name, source, tensor)


def _features(averages: bool, pools_first: bool, model: Any, pixels: Tensor, output: Output) -> Tensor:
    tokens = model.vision_model(pixel_values=cut_to_image(pixels, model.config.patch_size)).last_hidden_state
    return _finished(averages, pools_first, model, tokens, output)


def _quick_features(
    averages: bool, pools_first: bool, attend: Attend, model: Any, pixels: Tensor, output: Output
) -> Tensor:
    read: Output = "tokens" if averages else output  # the mean is that of all patches
    tokens = class_token_or_all(attend, model, pixels, read)
    return _finished(averages, pools_first, model, tokens if read == "tokens" else tokens[:, None], output)


def _finished(averages: bool, pools_first: bool, model: Any, tokens: Tensor, output: Output) -> Tensor:
    """Return the features of tokens `(n, tokens, width)` after the last layer."""
    normalize = model.vision_model.post_layernorm
    if output == "tokens":
        finished = normalize(tokens)
    elif pools_first:
        finished = normalize(_pooled(tokens, averages=averages))
    else:
        finished = _pooled(normalize(tokens), averages=averages)
    projected: Tensor = model.visual_projection(finished)
    return projected


def _pooled(tokens: Tensor, *, averages: bool) -> Tensor:
    """Return the mean of the patch tokens, or the class token, `(n, d)`, out of `(n, 1 + patches, d)`."""
    return tokens[:, 1:].mean(dim=1) if averages else tokens[:, 0]
