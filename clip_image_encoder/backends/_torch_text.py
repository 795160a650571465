"""Text towers in PyTorch: loaded onto a device, compared with float32 there, and run on batches of texts."""

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
    """The settings of a text tower in PyTorch, which decide its vectors.

    Attributes:
        checkpoint: Checkpoint whose text tower is run.
        dtype: Dtype of the weights and of the computation.
        verify: Whether the tower is compared with float32 on the CPU when it is loaded; True by default.
    """

    checkpoint: Checkpoint
    dtype: torch.dtype
    verify: bool = True

    def load(self, device: str) -> TextTower:
        """Load the tower onto a device.

        Raises:
            CheckpointError: The weights are missing, damaged or of another model.
            BackendError: The vector of a known text differs from that of float32 on the CPU.
        """
        verification = (
            kept(self.checkpoint, "text", device, name_of(self.dtype), self._reference) if self.verify else None
        )
        spec = self.checkpoint.text
        tower = spec.load(self.checkpoint.weights(self.dtype))
        # The class of another library that a model runs through may read the weights of layers to be replaced.
        if device == "cpu" and spec.through is None:
            make_texts_quick(tower)
        moved = tower.to(device)
        if verification:
            verification.check(partial(self.vectors, moved, device=device))
        return moved

    def vectors(
        self, tower: TextTower, token_ids: TokenIds, attention_mask: TokenIds | None = None, *, device: str
    ) -> Vectors:
        """Return the vectors of a batch of texts, `(n, d)` float32 on the CPU.

        Args:
            tower: Tower that `load` returned for `device`.
            token_ids: Token ids `(n, length)` int64.
            attention_mask: Mask `(n, length)` int64, 1 for a token and 0 for padding; None masks nothing.
            device: Name of the device that the tower is on.
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

    The weights are loaded once for each device that is used, and stay there. Several threads may call the backend at
    once. A pickled backend contains the checkpoint's name and commit, not the weights.

    Args:
        checkpoint: Checkpoint to run, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        dtype: "float32", "float16" or "bfloat16", for all devices; "auto" means float16 if `device` is a CUDA device,
            and float32 otherwise.
        device: Name of the device, or list of names, of which the first gets the weights now; None means the first
            CUDA device, or Apple's GPU, or the CPU.
        verify: Whether the vector of a known text is compared with that of float32 on the CPU, once in a process for
            each other device and dtype. The vector of float32 is computed once on a machine, and stored below HF_HOME.

    Raises:
        ConfigurationError: The device is not there, or the dtype is not supported.
        CheckpointError: The checkpoint has no text tower, or the weights are missing, damaged or of another model.
        BackendError: The vector of the known text differs from that of float32 on the CPU.

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
        # All devices have one dtype, so that the backend has one fingerprint.
        self._text = TorchText(checkpoint=checkpoint, dtype=dtype_on(first, self._dtype), verify=verify)
        self._towers = Towers(self._text.load)
        self._dimension = self._towers.on(first).dimension

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices it can run on: every CUDA device, then Apple's GPU, then the CPU."""
        return torch_devices()

    @property
    def max_length(self) -> int:
        """Largest number of tokens in a text, special tokens included."""
        return self._max_length

    @property
    def fingerprint(self) -> str:
        """Identifier of the vectors, made of the weights and the dtype."""
        return f"torch text({self._text.checkpoint.fingerprint}, {name_of(self._text.dtype)})"

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        """Return the vectors of a batch of texts.

        Args:
            token_ids: Token ids `(n, length)` int64, with `length` up to `max_length`.
            attention_mask: Mask `(n, length)` int64, 1 for a token and 0 for padding; None masks nothing.
            device: Name of the device, one of `devices`; the weights are loaded onto it if they aren't there.

        Returns:
            Vectors `(n, d)` float32, not normalized.
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
