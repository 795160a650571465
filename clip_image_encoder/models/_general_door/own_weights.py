"""Loads a checkpoint's weights into a class of transformers, which translates the names of older files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from clip_image_encoder._forks import no_fork
from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import CheckpointError
from clip_image_encoder.models._general_door.own_class import OwnClass
from clip_image_encoder.models._general_door.silence import silence
from clip_image_encoder.models._general_door.trial import Trial, idle_children, without

__all__ = ["dtype_of", "with_weights"]

_ONE_AT_A_TIME = Lock()
"""Lock for loading: transformers replaces torch's initializers meanwhile, and threads would restore each other's."""


def with_weights(own: OwnClass, trial: Trial, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a model of a class with its weights, on the CPU, without the parts that a trial did not need.

    Args:
        own: Class of the model.
        trial: Trial of a model of the class, which knows the tensors that it needs.
        tensors: Tensors of the checkpoint by their names in the files.

    Returns:
        Model in float32, whatever dtype the tensors have.

    Raises:
        CheckpointError: A tensor that the model needs is missing, has another shape, or would be left out.
    """
    # In float32: transformers would make any other dtype torch's default in all threads.
    with no_fork(), _ONE_AT_A_TIME, silence():
        model, report = _loaded(own, tensors)
    _check_whole(own, model, trial, tensors, report)
    without(model, idle_children(model, trial))
    return model.requires_grad_(False)


def dtype_of(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """Return the floating dtype of a checkpoint's tensors, which is one for all; float32 if there are none."""
    return next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), torch.float32)


def _loaded(own: OwnClass, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, Mapping[str, Any]]:
    """Return a model with weights, and transformers' report of missing, mismatched and unexpected tensors."""
    load: Any = own.kind.from_pretrained
    try:
        loaded: tuple[nn.Module, Mapping[str, Any]] = load(
            None,
            config=own.values,
            state_dict=dict(tensors),
            dtype=torch.float32,
            ignore_mismatched_sizes=True,  # they are reported, and refused here
            output_loading_info=True,
        )
    except Exception as error:  # transformers may raise anything on tensors that it can't use
        raise CheckpointError(f"{own.name}: the weights don't fit {own.label}: {first_line(error)}") from error
    return loaded


def _check_whole(
    own: OwnClass, model: nn.Module, trial: Trial, tensors: Mapping[str, Tensor], report: Mapping[str, Any]
) -> None:
    """Check that every needed tensor came out of the files, and that no tensor of a needed layer was left out.

    Raises:
        CheckpointError: A tensor is missing, has another shape, or would be left out.
    """
    built = model.state_dict()
    # transformers 5 reports both shapes with a name, 4 the name alone.
    mismatched = {entry if isinstance(entry, str) else entry[0] for entry in report["mismatched_keys"]}
    if other := sorted(trial.needed & mismatched):
        raise CheckpointError(
            f"{own.name}: {other[0]!r} has another shape than {tuple(built[other[0]].shape)}, which the config says"
        )
    # A buffer of integers, such as positions, is computed if the file doesn't have it.
    stored_names = {name for name, tensor in built.items() if tensor.is_floating_point()}
    if missing := sorted(trial.needed & stored_names & set(report["missing_keys"])):
        raise CheckpointError(
            f"{own.name}: the weights lack {missing[0]!r}, which {own.label} computes its vectors with; "
            "is it a checkpoint of another model?"
        )
    numbers = [name for name in report["unexpected_keys"] if name not in tensors or tensors[name].is_floating_point()]
    if left_out := _of_layers(model, trial, numbers):
        raise CheckpointError(
            f"{own.name}: a part of the weights would be left out: {left_out!r}. If they are quantized, use the "
            "checkpoint that it was made from; if it is an adapter's, merge it first"
        )


def _of_layers(model: nn.Module, trial: Trial, names: Iterable[str]) -> str | None:
    """Return the first of some names in a file that belongs to a needed layer, or None."""
    layers = {name.rpartition(".")[0] for name in trial.needed}
    innermost = {layer for layer in layers if not any(model.get_submodule(layer).children())}
    prefix = f"{getattr(model, 'base_model_prefix', '')}."
    for name in sorted(names):
        parts = name.removeprefix(prefix).split(".")
        if any(".".join(parts[:length]) in innermost for length in range(1, len(parts))):
            return name
    return None
