"""The general door: towers of a model that no family supports, computed by its own class of transformers.

The class is taken if it gives a vector of an image: by `get_image_features`, if it compares images with texts, or as
its pooled output. It is tried before any weights are read. No config says how texts are padded: here they are padded to
the longest of a batch, and masked. A class whose vectors change with the padding all the same needs a family's file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models._byte_pairs import byte_pairs
from clip_image_encoder.models._family import TextSpec, VisionSpec, Weights
from clip_image_encoder.models._general_door.own_class import OwnClass, find_own_class
from clip_image_encoder.models._transformers import side_lengths
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor, nn

    from clip_image_encoder.models._general_door.trial import Trial
    from clip_image_encoder.models._towers import TextTower, VisionTower

__all__ = ["general_text", "general_vision"]

_Images: TypeAlias = "Callable[[Any, Tensor, Output], Tensor]"

_COUNT = 2
"""Number of images or texts in the batch that a class is tried with."""
_ODD = (37, 5)
"""Pixels added to height and width to see if a class takes any size; no patch or window divides such sides."""


def general_vision(config: Mapping[str, Any], *, name: str) -> VisionSpec:
    """Return the vision tower that a parsed `config.json` of no family describes.

    Args:
        config: Parsed `config.json`, with a `model_type` that transformers knows.
        name: Name of the checkpoint for error messages.

    Raises:
        MissingExtraError: The model's class needs a package that is not installed.
        CheckpointError: The model's class gives no vector of an image, or the config is invalid.
    """
    own = find_own_class(config, name=name)
    compute = _image_function(own)
    model = own.without_weights()
    height, width = _image_size(own.values)
    trial = _tried(own, model, partial(_compute_images, model, compute, (height, width)), kind="an image")
    return VisionSpec(
        image_size=(height, width),
        patch_size=1,
        any_size=_takes(partial(_compute_images, model, compute, (height + _ODD[0], width + _ODD[1]))),
        outputs=frozenset({"pooled"}),
        prefix_tokens=0,
        dimension=trial.result.shape[1],
        through=own.label,
        load=partial(_load_vision, own, compute, trial),
    )


def general_text(config: Mapping[str, Any], *, name: str) -> TextSpec:
    """Return the text tower that a parsed `config.json` of no family describes.

    Args:
        config: Parsed `config.json`, with a `model_type` that transformers knows.
        name: Name of the checkpoint for error messages.

    Raises:
        MissingExtraError: The model's class needs a package that is not installed.
        CheckpointError: The model's class has no text tower or gives no vector of a text, or the config is invalid.
    """
    own = find_own_class(config, name=name)
    if _image_function(own) is not _image_features:
        raise CheckpointError(f"{name}: {own.label} has no text tower; its vectors can't be searched by text")
    model = own.without_weights()
    length = _text_length(own, model)
    trial = _tried(own, model, partial(_compute_texts, model, length), kind="a text")
    return TextSpec(
        max_length=length,
        padding="longest",
        tokenizer=byte_pairs if _is_read_by_clips_tokenizer(own.model_type) else None,
        through=own.label,
        load=partial(_load_text, own, trial),
    )


def _image_function(own: OwnClass) -> _Images:
    """Return the function that computes the vectors of images with a model of a class.

    Raises:
        CheckpointError: The class gives no vectors of images.
    """
    if hasattr(own.kind, "get_image_features") and hasattr(own.kind, "get_text_features"):
        return _image_features
    if hasattr(own.kind, "get_image_features"):
        raise own.refusal("makes image features for a network that follows, no vector of an image")
    if own.kind.main_input_name != "pixel_values":
        raise own.refusal("takes no images")
    return _pooled_output


def _image_features(model: Any, pixels: Tensor, _output: Output) -> Tensor:
    return _vectors_in(model.get_image_features(pixel_values=pixels))


def _pooled_output(model: Any, pixels: Tensor, _output: Output) -> Tensor:
    return _vectors_in(model(pixel_values=pixels))


def _text_features(model: Any, token_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    return _vectors_in(model.get_text_features(input_ids=token_ids, attention_mask=attention_mask))


def _vectors_in(features: Any) -> Tensor:
    """Return the vectors `(n, d)` in a model's result: a tensor in transformers 4, an object with several in 5.

    Raises:
        TypeError: The result has no vectors.
    """
    from torch import Tensor

    vectors = features if isinstance(features, Tensor) else getattr(features, "pooler_output", None)
    if not isinstance(vectors, Tensor):
        parts = ", ".join(features) if isinstance(features, Mapping) else type(features).__name__
        raise TypeError(f"there is no pooled output, only {parts}")
    # Convolutional networks pool to a map of one pixel, (n, d, 1, 1).
    return vectors.flatten(1) if vectors.shape[2:] == (1, 1) else vectors


def _compute_images(model: nn.Module, images: _Images, size: tuple[int, int]) -> Tensor:
    import torch

    return images(model, torch.empty(_COUNT, 3, *size, device="meta"), "pooled")


def _compute_texts(model: nn.Module, length: int) -> Tensor:
    import torch

    # Without a mask: models ask it whether it has zeros, and a tensor of the meta device has no numbers.
    return _text_features(model, torch.empty(_COUNT, length, dtype=torch.int64, device="meta"), None)


def _tried(own: OwnClass, model: nn.Module, compute: Callable[[], Tensor], *, kind: str) -> Trial:
    """Return the trial of a model that computes vectors without weights.

    Args:
        own: Class of the model.
        model: Model of the class, from which the children that it doesn't need are removed.
        compute: Function that computes vectors with the model.
        kind: Name for messages of what it computes vectors of, such as "an image".

    Raises:
        CheckpointError: The model gives no vectors.
    """
    from clip_image_encoder.models._general_door.trial import idle_children, try_out, without

    try:
        trial = try_out(model, compute)
        without(model, idle_children(model, trial))
        shape = tuple(try_out(model, compute).result.shape)
    except Exception as error:  # a network that needs other inputs may raise anything
        raise own.refusal(f"gives no vector of {kind} alone: {first_line(error)}") from error
    if len(shape) != 2 or shape[0] != _COUNT:
        raise own.refusal(f"gives features of shape {shape} for a batch of {_COUNT}, and not a vector for each")
    return trial


def _takes(compute: Callable[[], Tensor]) -> bool:
    """Tell whether a model computes something without weights."""
    import torch

    with torch.inference_mode(), torch.device("meta"):
        try:
            return compute().shape[0] == _COUNT
        except Exception:  # noqa: BLE001 - a network may raise anything for another size than its own
            return False


def _image_size(values: Any) -> tuple[int, int]:
    """Return the `(height, width)` that a config names, or 224 pixels, which most models were trained on."""
    for part in (values, getattr(values, "vision_config", None)):
        size = getattr(part, "image_size", None)
        if isinstance(size, (int, list, tuple)):
            return side_lengths(size)
    return 224, 224


def _text_length(own: OwnClass, model: nn.Module) -> int:
    """Return the number of tokens that a text tower has positions for.

    Raises:
        CheckpointError: The config doesn't say the number.
    """
    from torch import nn

    values = getattr(own.values, "text_config", own.values)
    positions = getattr(values, "max_position_embeddings", None)
    if not isinstance(positions, int):
        raise own.refusal("doesn't say how many tokens of a text it reads")
    # RoBERTa and its relatives count positions from the padding's id + 1.
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            return positions - module.padding_idx - 1
    return positions


def _is_read_by_clips_tokenizer(model_type: str) -> bool:
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    names: Any = TOKENIZER_MAPPING_NAMES.get(model_type)
    return "CLIPTokenizer" in ((names,) if isinstance(names, str) else names or ())


def _load_vision(own: OwnClass, images: _Images, trial: Trial, weights: Weights) -> VisionTower:
    from clip_image_encoder.models._general_door.own_weights import dtype_of, with_weights
    from clip_image_encoder.models._towers import VisionTower

    tensors = weights.read_all()
    model = with_weights(own, trial, tensors).to(dtype_of(tensors))
    return VisionTower(model, images, dimension=trial.result.shape[1], pixels="normalized")


def _load_text(own: OwnClass, trial: Trial, weights: Weights) -> TextTower:
    from clip_image_encoder.models._general_door.own_weights import dtype_of, with_weights
    from clip_image_encoder.models._towers import TextTower

    tensors = weights.read_all()
    model = with_weights(own, trial, tensors)
    _check_padding(own, model)
    return TextTower(model.to(dtype_of(tensors)), _text_features, dimension=trial.result.shape[1])


def _check_padding(own: OwnClass, model: nn.Module) -> None:
    """Check that a text has the same vector alone and beside a longer one, to whose length it is padded.

    Raises:
        CheckpointError: The vectors differ.
    """
    import torch

    values = getattr(own.values, "text_config", own.values)
    # The text ends with the end token, or with the highest id if the config names none: many models pool that token.
    last = values.eos_token_id if isinstance(values.eos_token_id, int) else values.vocab_size - 1
    token_ids = torch.tensor([[3, 4, min(last, values.vocab_size - 1), 0, 0, 0]], device="cpu")
    mask = torch.tensor([[1, 1, 1, 0, 0, 0]], device="cpu")
    with torch.inference_mode(), torch.device("cpu"):
        alone = _text_features(model, token_ids[:, :3], mask[:, :3])
        padded = _text_features(model, token_ids, mask)
    if not torch.allclose(alone, padded, rtol=1e-3, atol=1e-3 * float(alone.abs().max())):
        raise own.refusal("gives a text another vector beside a longer one; only its images can be encoded")
