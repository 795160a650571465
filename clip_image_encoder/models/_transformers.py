"""What families that transformers has have in common: parts of a config, the model of a class, names in old files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OLD_ATTENTION", "build_model", "class_token_or_all", "part_of", "side_lengths"]

OLD_ATTENTION = (
    (r"^layers\.", "encoder.layer."),
    (r"\battention\.q_proj\b", "attention.attention.query"),
    (r"\battention\.k_proj\b", "attention.attention.key"),
    (r"\battention\.v_proj\b", "attention.attention.value"),
    (r"\battention\.o_proj\b", "attention.output.dense"),
)
"""Names of 2021, which files keep, for modules that transformers 5 renamed; as `Weights.fill` takes them."""


def part_of(config: Mapping[str, Any], part: str | None) -> Mapping[str, Any]:
    """Return what a config says of one tower; what it leaves out has the default of transformers.

    Args:
        config: The parsed `config.json`.
        part: The key under which a file of both towers keeps this one; None takes the file as a whole.
    """
    return config if part is None else config.get(part) or {}


def side_lengths(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """Return `(height, width)` of an `image_size`, which is one number for a square."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def build_model(kind: str, config: Mapping[str, Any], part: str | None, *, name: str) -> Any:
    """Return a model of transformers without weights, by its class.

    It is not found by `model_type`, since transformers 4 has none for SigLIP's text towers.

    Args:
        kind: Name of a class of transformers, such as "CLIPVisionModelWithProjection".
        config: The parsed `config.json`.
        part: As in `part_of`.
        name: The checkpoint as messages call it.

    Raises:
        CheckpointError: transformers refuses a value of the config.
    """
    import transformers

    from clip_image_encoder.models._towers import build

    values = dict(part_of(config, part))
    # CLIP's whole model takes the width of the joint space from the top level, and so do its
    # checkpoints: some carry it nowhere else.
    if part is not None and "projection_dim" in config:
        values["projection_dim"] = config["projection_dim"]
    # The dtype is that of whoever saved the file, and the labels are those of a classifier's head.
    for key in ("dtype", "torch_dtype", "id2label", "label2id", "model_type", "transformers_version"):
        values.pop(key, None)
    model = getattr(transformers, kind)
    try:
        complete = model.config_class.from_dict(values)
    except Exception as error:  # transformers checks some fields, with errors of its own
        raise CheckpointError(f"{name}: config.json makes no sense: {first_line(error)}") from error
    return build(lambda: model(complete))


def class_token_or_all(model: Any, pixels: Tensor, output: Output) -> Tensor:
    """Return the class token `(n, d)` for "pooled", and all tokens for "tokens"; the class token is the first."""
    tokens: Tensor = model(pixel_values=cut_to_image(pixels, model.config.patch_size)).last_hidden_state
    return tokens[:, 0] if output == "pooled" else tokens
