"""What the families share whose models transformers has: reading a config, building a model, names in older files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models._cut import cut_to_image
from clip_image_encoder.protocols import Output

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["OLD_ATTENTION", "build_model", "class_token_or_all", "own_module", "part_of", "side_lengths"]

OLD_ATTENTION = (
    (r"^layers\.", "encoder.layer."),
    (r"\battention\.q_proj\b", "attention.attention.query"),
    (r"\battention\.k_proj\b", "attention.attention.key"),
    (r"\battention\.v_proj\b", "attention.attention.value"),
    (r"\battention\.o_proj\b", "attention.output.dense"),
)
"""Names that files have kept since 2021 for modules that transformers 5 renamed, as `Weights.fill` takes them."""


def part_of(config: Mapping[str, Any], part: str | None) -> Mapping[str, Any]:
    """Return what a config says of one tower; what it leaves out has the default of transformers.

    Args:
        config: Parsed `config.json`.
        part: Key of the tower in the config of a model with both towers; None means that all of it is the tower's.
    """
    return config if part is None else config.get(part) or {}


def side_lengths(size: int | list[int] | tuple[int, int]) -> tuple[int, int]:
    """Return the `(height, width)` of an `image_size`, which may be one number for a square."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def own_module() -> Any:
    """Return the module `transformers`, also while another thread imports it for the first time.

    At the end of its import transformers puts another module in its place. A thread that waited meanwhile at
    `import transformers` gets the first one, which has no models.
    """
    import transformers  # noqa: F401 - ends when it is imported

    return sys.modules["transformers"]


def build_model(kind: str, config: Mapping[str, Any], part: str | None, *, name: str) -> Any:
    """Return a model of transformers without weights, given the name of its class.

    The `model_type` doesn't always lead to the class: transformers 4 has none for SigLIP's text towers.

    Args:
        kind: Name of a class of transformers, such as "CLIPVisionModelWithProjection".
        config: Parsed `config.json`.
        part: Key of the tower in the config of a model with both towers; None means that all of it is the tower's.
        name: Name of the checkpoint for error messages.

    Raises:
        CheckpointError: A value of the config is refused by transformers.
    """
    from clip_image_encoder.models._towers import build

    values = dict(part_of(config, part))
    # CLIP's whole model reads the length of a vector from the top level, and some checkpoints have it nowhere else.
    if part is not None and "projection_dim" in config:
        values["projection_dim"] = config["projection_dim"]
    # The dtype is the one that the file was saved in; the labels are those of a classifier's head.
    for key in ("dtype", "torch_dtype", "id2label", "label2id", "model_type", "transformers_version"):
        values.pop(key, None)
    model = getattr(own_module(), kind)
    try:
        complete = model.config_class.from_dict(values)
    except Exception as error:  # transformers checks some fields, with errors of its own
        raise CheckpointError(f"{name}: config.json is invalid: {first_line(error)}") from error
    return build(lambda: model(complete))


def class_token_or_all(model: Any, pixels: Tensor, output: Output) -> Tensor:
    """Return the class token, the first, for "pooled" `(n, d)`, and all tokens for "tokens" `(n, tokens, d)`."""
    tokens: Tensor = model(pixel_values=cut_to_image(pixels, model.config.patch_size)).last_hidden_state
    return tokens[:, 0] if output == "pooled" else tokens
