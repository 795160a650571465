"""Loading and computing in torch as if nothing around it were set: an encoder's vectors depend on the encoder only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

__all__ = ["inference", "loading", "made_on"]


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


def made_on(device: str) -> AbstractContextManager[object]:
    """Return what one computes in so that new tensors, such as transformers' masks, are made on a device.

    The application may have set another default. Where it has not, nothing is done: each call of torch would take
    longer, a single text a twentieth.
    """
    wanted = torch.device(device)
    return nullcontext() if torch.get_default_device() == wanted else wanted
