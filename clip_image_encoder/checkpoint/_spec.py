"""What the config of a checkpoint says about its towers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from clip_image_encoder.checkpoint._files import DEQUANTISE, first_line
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["Family", "TextSpec", "VisionSpec", "has_projection", "text_spec", "vision_outputs", "vision_spec"]

Family = Literal["clip", "siglip", "siglip2", "dinov2", "vit"]

_FAMILIES: Mapping[str, tuple[Family, Literal["both", "vision", "text"]]] = {
    "clip": ("clip", "both"),
    "clip_vision_model": ("clip", "vision"),
    "clip_text_model": ("clip", "text"),
    "siglip": ("siglip", "both"),
    "siglip_vision_model": ("siglip", "vision"),
    "siglip_text_model": ("siglip", "text"),
    "siglip2": ("siglip2", "both"),
    "siglip2_vision_model": ("siglip2", "vision"),
    "siglip2_text_model": ("siglip2", "text"),
    "dinov2": ("dinov2", "vision"),
    "vit": ("vit", "vision"),
}
_CONFIG_CLASSES: Mapping[Family, str] = {
    "clip": "CLIP{tower}Config",
    "siglip": "Siglip{tower}Config",
    "siglip2": "Siglip2{tower}Config",
    "dinov2": "Dinov2Config",
    "vit": "ViTConfig",
}


@dataclass(frozen=True, kw_only=True)
class VisionSpec:
    """The vision tower of a checkpoint.

    Attributes:
        family: which architecture it is.
        config: the tower's own configuration, complete with defaults.
        image_size: `(height, width)` in pixels that it was trained at.
        any_size: whether its position embeddings are made to be resized to other sizes.
        patch_size: side of a patch in pixels.
    """

    family: Family
    config: PretrainedConfig
    image_size: tuple[int, int]
    any_size: bool
    patch_size: int


@dataclass(frozen=True, kw_only=True)
class TextSpec:
    """The text tower of a checkpoint.

    Attributes:
        family: which architecture it is.
        config: the tower's own configuration, complete with defaults.
        max_length: number of tokens that it reads, special ones included.
    """

    family: Family
    config: PretrainedConfig
    max_length: int


def vision_spec(config: Mapping[str, Any], name: str) -> VisionSpec:
    """Read the vision tower off a parsed `config.json`.

    Raises:
        CheckpointError: the model is none of CLIP, SigLIP, SigLIP2, DINOv2 and ViT, has no vision tower, or
            is quantised.
    """
    family, towers = _family(config, name)
    if towers == "text":
        raise CheckpointError(f"{name}: a checkpoint of a text tower only; there is no vision tower to load")
    with _making_sense_of_config(name):
        tower = _tower_config(config, "vision", family, towers)
        patch = int(tower.patch_size)
        if family == "siglip2":
            side = int(tower.num_patches**0.5) * patch
            size = (side, side)
        else:
            size = _pair(tower.image_size)
    return VisionSpec(
        family=family, config=tower, image_size=size, any_size=family in ("dinov2", "siglip2"), patch_size=patch
    )


def text_spec(config: Mapping[str, Any], name: str) -> TextSpec:
    """Read the text tower off a parsed `config.json`.

    Raises:
        CheckpointError: the model is none of CLIP, SigLIP and SigLIP2, has no text tower, or is quantised.
    """
    family, towers = _family(config, name)
    if towers == "vision":
        raise CheckpointError(
            f"{name}: this {family} checkpoint has no text tower; its vectors can't be searched by text"
        )
    with _making_sense_of_config(name):
        tower = _tower_config(config, "text", family, towers)
        length = int(tower.max_position_embeddings)
    return TextSpec(family=family, config=tower, max_length=length)


def vision_outputs(config: Mapping[str, Any]) -> frozenset[Output]:
    """Read off a parsed `config.json` what the vision tower can give: SigLIP's without its head has tokens only."""
    tower = config.get("vision_config") or config
    without_head = isinstance(tower, Mapping) and tower.get("vision_use_head") is False
    return frozenset({"tokens"}) if without_head else frozenset({"pooled", "tokens"})


def has_projection(config: Mapping[str, Any]) -> bool:
    """Read off a parsed `config.json` whether a CLIP's vision tower is sure to end in a projection.

    Only one that was saved from a CLIPVisionModel has none. Older files don't say what they were saved from.
    """
    return config.get("model_type") == "clip" or "CLIPVisionModelWithProjection" in (config.get("architectures") or ())


def _family(config: Mapping[str, Any], name: str) -> tuple[Family, Literal["both", "vision", "text"]]:
    model_type = config.get("model_type")
    if "auto_map" in config and str(model_type) not in _FAMILIES:
        raise CheckpointError(f"{name}: needs code of its own (auto_map), which is never executed")
    if not isinstance(model_type, str) or model_type not in _FAMILIES:
        raise CheckpointError(
            f"{name}: config.json has model_type {model_type!r}; supported are CLIP, SigLIP, SigLIP2, DINOv2 and ViT"
        )
    for part in (config, config.get("text_config"), config.get("vision_config")):
        method = part.get("quantization_config") if isinstance(part, Mapping) else None
        if method:
            kind = method.get("quant_method", "some method") if isinstance(method, Mapping) else method
            raise CheckpointError(f"{name}: config.json says that it is quantised by {kind}; {DEQUANTISE}")
    return _FAMILIES[model_type]


def _tower_config(config: Mapping[str, Any], tower: str, family: Family, towers: str) -> PretrainedConfig:
    import transformers

    values = dict((config.get(f"{tower}_config") or {}) if towers == "both" else config)
    # CLIP's whole model takes the width of the joint space from the top level, and so do its
    # checkpoints: some carry it nowhere else.
    if towers == "both" and "projection_dim" in config:
        values["projection_dim"] = config["projection_dim"]
    # Written by whoever saved the file: its dtype is the file's business, its heads' labels nobody's.
    for key in ("dtype", "torch_dtype", "id2label", "label2id", "model_type", "transformers_version"):
        values.pop(key, None)
    # By class, not by model type: transformers 4 has no model type for SigLIP's text towers.
    kind: type[PretrainedConfig] = getattr(transformers, _CONFIG_CLASSES[family].format(tower=tower.title()))
    return kind.from_dict(values)


@contextmanager
def _making_sense_of_config(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers checks some fields, with errors of its own
        raise CheckpointError(f"{name}: config.json makes no sense: {first_line(error)}") from error


def _pair(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])
