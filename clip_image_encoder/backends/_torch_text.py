"""The text tower in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import TokenIds, Vectors
from clip_image_encoder.backends._cpu import make_texts_quick
from clip_image_encoder.backends._reference import Reference, one_vector, reference_tokens
from clip_image_encoder.backends._torch_context import inference, made_on
from clip_image_encoder.backends._torch_devices import check_dtype, dtype_on, name_of, torch_devices
from clip_image_encoder.backends._torch_towers import Towers
from clip_image_encoder.backends._verification import kept
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.models._towers import TextTower

__all__ = ["TorchTextBackend"]


@dataclass(frozen=True, kw_only=True)
class TorchText:
    """All that decides what a checkpoint's text tower computes.

    Attributes:
        checkpoint: Whose tower it is.
        dtype: What it computes in.
        verify: Whether it is compared with float32 on the CPU.
    """

    checkpoint: Checkpoint
    dtype: torch.dtype
    verify: bool = True

    def load(self, device: str) -> TextTower:
        """Return the tower on a device.

        Raises:
            CheckpointError: The weights are missing, damaged or of another model.
            BackendError: It gives another vector of a known text than float32 on the CPU.
        """
        verification = (
            kept(self.checkpoint, "text", device, name_of(self.dtype), self._reference) if self.verify else None
        )
        spec = self.checkpoint.text
        tower = spec.load(self.checkpoint.weights(self.dtype))
        # The code of others may read the weights of layers that would be replaced.
        if device == "cpu" and spec.through is None:
            make_texts_quick(tower)
        moved = tower.to(device)
        if verification:
            verification.check(partial(self.vectors, moved, device=device))
        return moved

    def vectors(
        self, tower: TextTower, token_ids: TokenIds, attention_mask: TokenIds | None = None, *, device: str
    ) -> Vectors:
        """Return the vectors of a batch, `(n, d)` float32 on the CPU.

        Args:
            tower: What `load` returned.
            token_ids: `(n, length)`.
            attention_mask: The same shape, 1 for a token and 0 for padding; None where nothing is masked.
            device: Where the tower is.
        """
        with inference(device), made_on(device):
            mask = None if attention_mask is None else torch.from_numpy(attention_mask).to(device)
            vectors: Vectors = tower(torch.from_numpy(token_ids).to(device), mask).to("cpu", torch.float32).numpy()
        return vectors

    def _reference(self) -> Reference:
        exact = replace(self, dtype=torch.float32)
        token_ids, mask = reference_tokens(self.checkpoint)
        inputs = (token_ids,) if mask is None else (token_ids, mask)
        return Reference(inputs=inputs, vector=one_vector(exact.vectors(exact.load("cpu"), *inputs, device="cpu")))


class TorchTextBackend:
    """Runs a checkpoint's text tower in PyTorch.

    The weights are loaded once for each device that is used, and stay there. It may be called from
    several threads. Pickled, it carries the checkpoint's name and commit, not the weights.

    Args:
        checkpoint: From `clip_image_encoder.checkpoint.open_checkpoint`.
        dtype: "float32", "float16", "bfloat16"; "auto" is float16 if `device` is a CUDA device, and float32
            if it is another; it holds for all devices that are named later.
        device: Where to load the weights now; None is the best there is.
        verify: Whether the vector of a known text is compared with that of float32 on the CPU, on other devices and
            in other dtypes, once in a process; the first time on a machine, float32's is computed and kept below
            HF_HOME.

    Raises:
        ConfigurationError: The device or the dtype can't be had.
        CheckpointError: The checkpoint has no text tower, or the weights are missing, damaged or of another model.
        BackendError: The known text has another vector than float32 gives on the CPU.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.backends.torch import TorchTextBackend
        >>> from clip_image_encoder.checkpoint import open_checkpoint
        >>> backend = TorchTextBackend(open_checkpoint("tiny-shapes"))
        >>> backend(np.ones((2, backend.max_length), np.int64), None, device="cpu").shape == (2, backend.dimension)
        True
    """

    def __init__(
        self, checkpoint: Checkpoint, /, *, dtype: str = "auto", device: Devices = None, verify: bool = True
    ) -> None:
        self._max_length = checkpoint.text.max_length
        self._dtype = check_dtype(dtype)
        self._requested = device
        first = resolve_devices(device, self.devices)[0]
        # One dtype for all devices, so that one fingerprint is true of all.
        self._text = TorchText(checkpoint=checkpoint, dtype=dtype_on(first, self._dtype), verify=verify)
        self._towers = Towers(self._text.load)
        self._dimension = self._towers.on(first).dimension

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def devices(self) -> tuple[str, ...]:
        """Every CUDA device, then Apple's GPU, then the CPU."""
        return torch_devices()

    @property
    def max_length(self) -> int:
        """Number of tokens that the tower reads, special ones included."""
        return self._max_length

    @property
    def fingerprint(self) -> str:
        """Same string, same vectors: the weights and the dtype."""
        return f"torch text({self._text.checkpoint.fingerprint}, {name_of(self._text.dtype)})"

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        """Encode a batch.

        Args:
            token_ids: `(n, length)`, with `length` up to `max_length`.
            attention_mask: The same shape, 1 for a token and 0 for padding; None where nothing is masked.
            device: One of `devices`.

        Returns:
            `(n, d)` float32 on the CPU, not normalized.
        """
        tower = self._towers.on(device)
        with no_fork(), self._towers.turn(device):
            return self._text.vectors(tower, token_ids, attention_mask, device=device)

    def __repr__(self) -> str:
        checkpoint = self._text.checkpoint
        whose = f", through {checkpoint.text.through}" if checkpoint.text.through else ""
        return f"TorchTextBackend({checkpoint.name!r}, dtype={self._dtype!r}{whose})"

    def __reduce__(self) -> tuple[Callable[..., TorchTextBackend], tuple[Any, ...]]:
        return _restore, (self._text.checkpoint, self._dtype, self._requested, self._text.verify)


def _restore(checkpoint: Checkpoint, dtype: str, device: Devices, verify: bool) -> TorchTextBackend:
    return TorchTextBackend(checkpoint, dtype=dtype, device=device, verify=verify)
