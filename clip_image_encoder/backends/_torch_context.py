"""Contexts in which torch ignores the application's default device and autocast, so that vectors depend on neither."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

__all__ = ["inference", "loading", "made_on"]


@contextmanager
def loading() -> Iterator[None]:
    """Make new tensors on the CPU, without autocast, for the time of the context."""
    with torch.device("cpu"), torch.autocast("cpu", enabled=False):
        yield


@contextmanager
def inference(device: str) -> Iterator[None]:
    """Compute without gradients and without autocast, in the dtype of the weights, for the time of the context."""
    with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=False):
        yield


def made_on(device: str) -> AbstractContextManager[object]:
    """Return a context in which new tensors, such as transformers' masks, are made on a device.

    If that is torch's default device already, the context does nothing, since it would make each call of torch slower:
    a single text would take a twentieth more.
    """
    wanted = torch.device(device)
    return nullcontext() if torch.get_default_device() == wanted else wanted
