"""Fills torch modules with tensors of safetensors files, of which only the wanted ones are read."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath

import torch
from torch import Tensor, nn

from clip_image_encoder.checkpoint._files import DEQUANTIZE, Files
from clip_image_encoder.checkpoint._safetensors import open_safetensors
from clip_image_encoder.errors import CheckpointError

__all__ = ["SafetensorsWeights"]

_READ_AT_ONCE = 2**25
"""Number of bytes that are read from a file before it is closed and opened again."""

# Numbers of other dtypes are quantized: they have a meaning only together with a scale.
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


class SafetensorsWeights:
    """The tensors of a checkpoint's safetensors files, which implement `models.Weights`.

    Args:
        files: Files of the checkpoint.
        tensors: Name of the file that holds each tensor, from `Format.tensors`: {tensor: filename}.
        dtype: Dtype that the weights get in memory; the files may have another.
    """

    def __init__(self, files: Files, tensors: Mapping[str, str], dtype: torch.dtype) -> None:
        self._files = files
        self._tensors = tensors
        self._dtype = dtype

    @property
    def name(self) -> str:
        """Name of the checkpoint for error messages."""
        return self._files.name

    def __contains__(self, name: str, /) -> bool:
        return name in self._tensors

    def fill(
        self,
        module: nn.Module,
        *,
        prefixes: Sequence[str] = ("",),
        old_names: Sequence[tuple[str, str]] = (),
        part: Callable[[str, str, Tensor], Tensor] | None = None,
    ) -> None:
        """Fill a module that was built without memory with its own tensors, as `models.Weights.fill` says."""
        expected = module.state_dict()
        sources = {name: self._source(name, prefixes, old_names) for name in expected}
        self._check_nothing_is_left_out(module, sources)
        loaded: dict[str, Tensor] = {}
        for name, source, tensor in self._read(sources):
            is_number = expected[name].is_floating_point()  # else a counter, such as BatchNorm's num_batches_tracked
            if is_number and tensor.dtype not in _DTYPES:
                raise self._quantized(source, tensor)
            own = part(name, source, tensor) if part else tensor
            if own.shape != expected[name].shape:
                raise CheckpointError(
                    f"{self.name}: {source!r} has shape {tuple(own.shape)}, "
                    f"the config says {tuple(expected[name].shape)}"
                )
            # Copied, since what was read may be the file itself, mapped into memory.
            loaded[name] = own.to(self._dtype if is_number else expected[name].dtype, copy=True)
        module.load_state_dict(loaded, assign=True)
        module.requires_grad_(False)
        _fill_buffers(module)

    def read_all(self) -> dict[str, Tensor]:
        """Return every tensor on the CPU, by its name in the file, as `models.Weights.read_all` says."""
        tensors: dict[str, Tensor] = {}
        for name, _, tensor in self._read({name: name for name in self._tensors}):
            if tensor.dtype not in (*_DTYPES, torch.int64, torch.int32, torch.bool):
                raise self._quantized(name, tensor)
            tensors[name] = tensor.to(self._dtype if tensor.is_floating_point() else tensor.dtype, copy=True)
        return tensors

    def _read(self, sources: Mapping[str, str]) -> Iterable[tuple[str, str, Tensor]]:
        """Yield each tensor's name in the module, its name in the file, and the tensor, file by file."""
        wanted: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for name, source in sources.items():
            wanted[self._tensors[source]][name] = source
        for filename, names in wanted.items():
            left = deque(names.items())
            while left:
                yield from self._read_file(filename, left)

    def _read_file(self, filename: str, left: deque[tuple[str, str]]) -> Iterable[tuple[str, str, Tensor]]:
        """Yield the next tensors of a file and take them off `left`, up to `_READ_AT_ONCE` bytes.

        Then the file is closed: it is mapped into memory, and what was read of it takes memory until then.
        """
        folder, read = f"{PurePosixPath(filename).parent}/", 0
        # Older versions of safetensors put tensors on the default device, which the caller may have changed.
        with torch.device("cpu"), open_safetensors(self._files, filename, "pt") as reader:
            while left and read < _READ_AT_ONCE:
                name, source = left.popleft()
                tensor = reader.get_tensor(source.removeprefix(folder))
                read += tensor.nbytes
                yield name, source, tensor

    def _quantized(self, source: str, tensor: Tensor) -> CheckpointError:
        kind = str(tensor.dtype).removeprefix("torch.")
        return CheckpointError(f"{self.name}: {source!r} is {kind}, of quantized weights; {DEQUANTIZE}")

    def _source(self, name: str, prefixes: Sequence[str], old_names: Sequence[tuple[str, str]]) -> str:
        """Return the name in the file of a module's tensor.

        Raises:
            CheckpointError: The file has it under none of the prefixes and names.
        """
        old = name
        for pattern, replacement in old_names:
            old = re.sub(pattern, replacement, old)
        candidates = [prefix + spelling for prefix in prefixes for spelling in (name, old)]
        source = next((candidate for candidate in candidates if candidate in self._tensors), None)
        if source is not None:
            return source
        # The message has the spelling that shares most modules with the names in the file.
        missing = max(candidates, key=self._known_modules)
        layer = missing.rpartition(".")[0] + "."
        others = (other for other in self._tensors if other.startswith(layer) and not other.endswith(".bias"))
        instead = next(others, None)
        advice = f"{instead!r} is there instead; {DEQUANTIZE}" if instead else "is it a checkpoint of another model?"
        raise CheckpointError(f"{self.name}: the weights lack {missing!r}; {advice}")

    def _known_modules(self, name: str) -> int:
        """Return the number of modules in a tensor's name that the file has, too."""
        parts = name.split(".")
        modules = (".".join(parts[:length]) + "." for length in range(1, len(parts)))
        return sum(any(tensor.startswith(module) for tensor in self._tensors) for module in modules)

    def _check_nothing_is_left_out(self, module: nn.Module, sources: Mapping[str, str]) -> None:
        """Refuse tensors of the file that belong to a layer of the module which has no place for them.

        They are scales of quantized weights, low-rank updates or a bias, without which the vectors would be wrong.

        Raises:
            CheckpointError: The file has such a tensor.
        """
        layers = {
            source.rpartition(".")[0]
            for name, source in sources.items()
            # A layer is recognized by a tensor that has the same last name in both, such as "weight".
            if name.rpartition(".")[2] == source.rpartition(".")[2]
            and not any(module.get_submodule(name.rpartition(".")[0]).children())
        }
        for other in sorted(self._tensors.keys() - set(sources.values())):
            parts = other.split(".")
            if any(".".join(parts[:length]) in layers for length in range(1, len(parts))):
                raise CheckpointError(
                    f"{self.name}: a part of the weights would be left out: {other!r}. If they are quantized, "
                    f"{DEQUANTIZE}; if it is an adapter's, merge it first"
                )


def _fill_buffers(module: nn.Module) -> None:
    """Fill the buffers that no file stores: positions, which count from 0, and token types, which are all 0."""
    for parent in module.modules():
        for name, buffer in parent.named_buffers(recurse=False):
            if buffer.is_meta and name in ("position_ids", "token_type_ids"):
                positions = torch.arange(buffer.shape[-1], device="cpu")  # the caller's default device may be another
                values = positions if name == "position_ids" else torch.zeros_like(positions)
                parent.register_buffer(name, values.expand(1, -1), persistent=False)
