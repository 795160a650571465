"""Parts of a `config.json`: as plain values, and as transformers' own configurations when a tower is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["part_of", "side_lengths", "tower_config"]


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


def tower_config(kind: str, config: Mapping[str, Any], part: str | None, *, name: str) -> Any:
    """Return the configuration of one tower, complete with transformers' defaults.

    Args:
        kind: Name of a class of transformers, such as "CLIPVisionConfig". It is found by class and not by
            `model_type`, since transformers 4 has no model type for SigLIP's text towers.
        config: The parsed `config.json`.
        part: As in `part_of`.
        name: The checkpoint as messages call it.

    Raises:
        CheckpointError: transformers refuses a value.
    """
    import transformers

    values = dict(part_of(config, part))
    # CLIP's whole model takes the width of the joint space from the top level, and so do its
    # checkpoints: some carry it nowhere else.
    if part is not None and "projection_dim" in config:
        values["projection_dim"] = config["projection_dim"]
    # The dtype is that of whoever saved the file, and the labels are those of a classifier's head.
    for key in ("dtype", "torch_dtype", "id2label", "label2id", "model_type", "transformers_version"):
        values.pop(key, None)
    found: type[PretrainedConfig] = getattr(transformers, kind)
    try:
        return found.from_dict(values)
    except Exception as error:  # transformers checks some fields, with errors of its own
        raise CheckpointError(f"{name}: config.json makes no sense: {first_line(error)}") from error
