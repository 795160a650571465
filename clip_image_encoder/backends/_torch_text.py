"""The text tower in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import TokenIds, Vectors
from clip_image_encoder.backends._torch_context import inference
from clip_image_encoder.backends._torch_devices import check_dtype, dtype_on, torch_devices
from clip_image_encoder.backends._torch_towers import Towers
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.models._towers import TextTower

__all__ = ["TorchTextBackend"]


class TorchTextBackend:
    """Runs a checkpoint's text tower in PyTorch.

    The weights are loaded once for each device that is used, and stay there. It may be called from
    several threads. Pickled, it carries the checkpoint's name and commit, not the weights.

    Args:
        checkpoint: From `clip_image_encoder.checkpoint.open_checkpoint`.
        dtype: "float32", "float16", "bfloat16"; "auto" is float16 if `device` is a CUDA device, and float32
            if it is another; it holds for all devices that are named later.
        device: Where to load the weights now; None is the best there is.

    Raises:
        ConfigurationError: The device or the dtype can't be had.
        CheckpointError: The checkpoint has no text tower, or the weights are missing, damaged or of another model.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.backends.torch import TorchTextBackend
        >>> from clip_image_encoder.checkpoint import open_checkpoint
        >>> backend = TorchTextBackend(open_checkpoint("tiny-shapes"))
        >>> backend(np.ones((2, backend.max_length), np.int64), None, device="cpu").shape == (2, backend.dimension)
        True
    """

    def __init__(self, checkpoint: Checkpoint, /, *, dtype: str = "auto", device: Devices = None) -> None:
        self._checkpoint = checkpoint
        self._max_length = checkpoint.text.max_length
        self._dtype = check_dtype(dtype)
        self._requested = device
        first = resolve_devices(device, self.devices)[0]
        # One dtype for all devices, so that one fingerprint is true of all.
        self._computed_in = dtype_on(first, self._dtype)
        self._towers = Towers(self._loaded)
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
        return f"torch text({self._checkpoint.fingerprint}, {str(self._computed_in).removeprefix('torch.')})"

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
        # transformers makes masks on the default device, which the application may have set.
        with no_fork(), inference(device), torch.device(device), self._towers.turn(device):
            mask = None if attention_mask is None else torch.from_numpy(attention_mask).to(device)
            vectors: Vectors = tower(torch.from_numpy(token_ids).to(device), mask).to("cpu", torch.float32).numpy()
        return vectors

    def __repr__(self) -> str:
        through = self._checkpoint.text.through
        whose = f", through {through}" if through else ""
        return f"TorchTextBackend({self._checkpoint.name!r}, dtype={self._dtype!r}{whose})"

    def __reduce__(self) -> tuple[Callable[..., TorchTextBackend], tuple[Any, ...]]:
        return _restore, (self._checkpoint, self._dtype, self._requested)

    def _loaded(self, device: str) -> TextTower:
        return self._checkpoint.text.load(self._checkpoint.weights(self._computed_in)).to(device)


def _restore(checkpoint: Checkpoint, dtype: str, device: Devices) -> TorchTextBackend:
    return TorchTextBackend(checkpoint, dtype=dtype, device=device)
