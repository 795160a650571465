"""Loading and computing in torch as if nothing around it were set: an encoder's vectors depend on the encoder only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["inference", "loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Make tensors on the CPU, whatever default device and autocast the application has set in this thread."""
    with torch.device("cpu"), torch.autocast("cpu", enabled=False):
        yield


@contextmanager
def inference(device: str) -> Iterator[None]:
    """Compute without gradients, in the dtype of the weights, whatever autocast the application has set."""
    with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=False):
        yield
