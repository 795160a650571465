"""Safetensors into a module: only the wanted tensors are read, and nothing is executed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from clip_image_encoder.checkpoint._files import DEQUANTISE, Files, weight_filenames, weight_map
from clip_image_encoder.errors import CheckpointError

__all__ = ["build", "load_weights", "stored_names"]

# Others hold numbers that mean something only with a scale.
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

_Module = TypeVar("_Module", bound=nn.Module)

# Files keep the names that ViT and DINOv2 had in 2021; transformers 5 renamed the modules.
_NAMES_IN_FILES: tuple[tuple[str, str], ...] = (
    (r"^layers\.", "encoder.layer."),
    (r"\battention\.q_proj\b", "attention.attention.query"),
    (r"\battention\.k_proj\b", "attention.attention.key"),
    (r"\battention\.v_proj\b", "attention.attention.value"),
    (r"\battention\.o_proj\b", "attention.output.dense"),
    (r"\bmlp\.fc1\b", "intermediate.dense"),
    (r"\bmlp\.fc2\b", "output.dense"),
    (r"\bmlp\.down_proj\b", "mlp.weights_out"),
    (r"\bmlp\.(gate|up)_proj\b", "mlp.weights_in"),
)


def build(module: Callable[[], _Module]) -> _Module:
    """Construct a module without memory, random numbers or initialisation; its weights come later.

    Args:
        module: makes the module; called under torch's meta device, which holds for this thread only.
    """
    with torch.device("meta"):
        return module().eval()


def stored_names(files: Files) -> Mapping[str, str]:
    """Return which of a checkpoint's safetensors files holds each tensor: {tensor: filename}.

    Raises:
        CheckpointError: there are no safetensors, or the file is damaged.
    """
    filenames = weight_filenames(files)
    if filenames == ["model.safetensors"]:
        with _open(files, filenames[0]) as reader:
            return dict.fromkeys(reader.keys(), filenames[0])
    return weight_map(files)


def load_weights(module: nn.Module, files: Files, *, prefixes: Sequence[str], dtype: torch.dtype) -> None:
    """Fill a module from `build` with its own tensors out of a checkpoint.

    Args:
        module: on the meta device; afterwards on the CPU, in evaluation mode, without gradients.
        files: the checkpoint.
        prefixes: what the names in the file may start with before the module's own names.
        dtype: of the weights in memory, whatever the file has.

    Raises:
        CheckpointError: tensors are missing, have another shape, are quantised, or the file is damaged.
    """
    stored = stored_names(files)
    expected = module.state_dict()
    sources = {name: _source(name, prefixes, stored, files.name) for name in expected}
    _check_nothing_is_left_out(module, sources, stored, files.name)
    wanted: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name, source in sources.items():
        wanted[stored[source]][name] = source

    loaded: dict[str, torch.Tensor] = {}
    for filename, names in wanted.items():
        # Older versions of safetensors make tensors on the caller's default device.
        with torch.device("cpu"), _open(files, filename) as reader:
            for name, source in names.items():
                tensor = reader.get_tensor(source)
                if tensor.dtype not in _DTYPES:
                    kind = str(tensor.dtype).removeprefix("torch.")
                    raise CheckpointError(f"{files.name}: {source!r} is {kind}, of quantised weights; {DEQUANTISE}")
                if ".weights_in." in source:
                    tensor = _own_half(name, tensor)
                if tensor.shape != expected[name].shape:
                    raise CheckpointError(
                        f"{files.name}: {source!r} has shape {tuple(tensor.shape)}, "
                        f"the config says {tuple(expected[name].shape)}"
                    )
                # A copy: what safe_open returns may be the file itself, mapped into memory.
                loaded[name] = tensor.to(dtype, copy=True)
    module.load_state_dict(loaded, assign=True)
    module.requires_grad_(False)
    _fill_position_ids(module)


def _source(name: str, prefixes: Sequence[str], stored: Mapping[str, str], checkpoint: str) -> str:
    """Return what a tensor of a module is called in the file."""
    source = _name_in_file(name, prefixes, stored)
    if source is not None:
        return source
    missing = prefixes[0] + name
    layer = missing.rpartition(".")[0] + "."
    instead = next((other for other in stored if other.startswith(layer) and not other.endswith(".bias")), None)
    advice = f"{instead!r} is there instead; {DEQUANTISE}" if instead else "is it a checkpoint of another model?"
    raise CheckpointError(f"{checkpoint}: the weights lack {missing!r}; {advice}")


def _check_nothing_is_left_out(
    module: nn.Module, sources: Mapping[str, str], stored: Mapping[str, str], checkpoint: str
) -> None:
    """Refuse tensors that belong to a layer and that it doesn't have: scales, low-rank updates, a bias."""
    layers = {
        source.rpartition(".")[0]
        for name, source in sources.items()
        if not any(module.get_submodule(name.rpartition(".")[0]).children())
    }
    for other in sorted(stored.keys() - set(sources.values())):
        parts = other.split(".")
        if any(".".join(parts[:length]) in layers for length in range(1, len(parts))):
            raise CheckpointError(
                f"{checkpoint}: a part of the weights would be left out: {other!r}. If they are quantised, "
                f"{DEQUANTISE}; if it is an adapter's, merge it first"
            )


def _name_in_file(name: str, prefixes: Sequence[str], stored: Mapping[str, str]) -> str | None:
    old = name
    for pattern, replacement in _NAMES_IN_FILES:
        old = re.sub(pattern, replacement, old)
    for prefix in prefixes:
        for candidate in (prefix + name, prefix + old):
            if candidate in stored:
                return candidate
    return None


def _own_half(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Cut the gate or the up projection of a SwiGLU out of the one tensor that files keep for both."""
    if "mlp.gate_proj." in name:
        return tensor.chunk(2, dim=0)[0]
    if "mlp.up_proj." in name:
        return tensor.chunk(2, dim=0)[1]
    return tensor


def _fill_position_ids(module: nn.Module) -> None:
    """Give the buffers that no file stores their values: they count positions from 0."""
    for parent in module.modules():
        for name, buffer in parent.named_buffers(recurse=False):
            if buffer.is_meta:
                assert name == "position_ids", name
                positions = torch.arange(buffer.shape[-1], device="cpu")  # whatever the caller's default device is
                parent.register_buffer(name, positions.expand(1, -1), persistent=False)


@contextmanager
def _open(files: Files, filename: str) -> Iterator[Any]:
    path = files.path(filename)
    try:
        with safe_open(path, framework="pt") as reader:
            yield reader
        files.path(filename)
    except (SafetensorError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{files.name}: {filename} is damaged or cut short ({error}); delete it and fetch it again"
        ) from error
