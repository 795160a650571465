"""Towers of open_clip's other architectures, which the open_clip package builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import CheckpointError, MissingExtraError
from clip_image_encoder.models._family import VisionSpec, Weights
from clip_image_encoder.models._transformers import side_lengths
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["NAME", "load_text", "vision_spec"]

NAME = "the open_clip package"

# open_clip's classes have both towers. The unwanted one is made as small as possible, and thrown away.
_SMALL_VISION = {"layers": 1, "width": 64, "patch_size": 16, "image_size": 16}
_SMALL_TEXT = {"layers": 1, "width": 64, "heads": 1, "vocab_size": 2, "context_length": 1}


def vision_spec(model: Mapping[str, Any]) -> VisionSpec:
    """Return the vision tower of a `model_cfg`, which gives only "pooled"."""
    return VisionSpec(
        image_size=side_lengths(model["vision_cfg"].get("image_size", 224)),
        patch_size=1,
        outputs=frozenset({"pooled"}),
        prefix_tokens=0,
        dimension=model["embed_dim"],
        through=NAME,
        load=partial(_load_vision, model),
    )


def _load_vision(model: Mapping[str, Any], weights: Weights) -> VisionTower:
    from clip_image_encoder.models._towers import VisionTower

    vision = {**model["vision_cfg"], "timm_model_pretrained": False}
    tower = _built(model, weights, vision_cfg=vision, text_cfg=_SMALL_TEXT).visual
    _fill(tower, weights, prefixes=("visual.",))
    return VisionTower(tower, _features, dimension=model["embed_dim"], pixels="normalized")


def load_text(model: Mapping[str, Any], weights: Weights) -> TextTower:
    """Return the text tower of a `model_cfg`, with its weights."""
    from clip_image_encoder.models._towers import TextTower

    text = {**model["text_cfg"], "hf_model_pretrained": False}
    tower = _built(model, weights, vision_cfg=_SMALL_VISION, text_cfg=text).text
    # In files of models that have no class for the text tower, the names of its tensors have no prefix.
    _fill(tower, weights, prefixes=("text.", ""))
    return TextTower(tower, _vectors, dimension=model["embed_dim"])


def _built(model: Mapping[str, Any], weights: Weights, *, vision_cfg: object, text_cfg: object) -> Any:
    import torch

    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError(
            f"{weights.name}: this architecture is built by the open_clip package: "
            "python -m pip install 'clip-image-encoder[open_clip]'"
        ) from error
    # open_clip draws random weights, which must not change the application's next random numbers.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        try:
            return open_clip.CustomTextCLIP(
                embed_dim=model["embed_dim"],
                vision_cfg=vision_cfg,
                text_cfg=text_cfg,
                quick_gelu=model.get("quick_gelu", False),
            ).eval()
        except Exception as error:  # timm and transformers raise errors of their own for unknown names
            raise CheckpointError(f"{weights.name}: open_clip can't build its model: {first_line(error)}") from error


def _fill(tower: nn.Module, weights: Weights, *, prefixes: tuple[str, ...]) -> None:
    weights.fill(tower, prefixes=prefixes)
    # Buffers that the tower computes, and no file stores, get the dtype of the weights, too.
    tower.to(next(tower.parameters()).dtype)


def _features(model: Callable[[Tensor], Any], pixels: Tensor, _output: Output) -> Tensor:
    return _first(model(pixels))


def _vectors(model: Callable[[Tensor], Any], token_ids: Tensor, _mask: Tensor | None) -> Tensor:
    return _first(model(token_ids))


def _first(given: Any) -> Tensor:
    """Return the vectors in a tower's result; CoCa's towers return their tokens beside them."""
    vectors: Tensor = given[0] if isinstance(given, tuple) else given
    return vectors
