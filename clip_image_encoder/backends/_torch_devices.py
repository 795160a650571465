"""The devices and dtypes that PyTorch has for towers on this machine."""

from __future__ import annotations

import os
from functools import cache

import torch

from clip_image_encoder.errors import ConfigurationError

__all__ = ["DTYPES", "check_dtype", "dtype_on", "let_forks_compute", "name_of", "torch_devices"]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def torch_devices() -> tuple[str, ...]:
    """Return the names of PyTorch's devices: every CUDA device, then Apple's GPU, then the CPU."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return (*cuda, *mps, "cpu")


def check_dtype(dtype: str) -> str:
    """Return the name of a dtype that towers can compute in.

    Args:
        dtype: Name of the dtype, "auto", or a `torch.dtype`.

    Raises:
        ConfigurationError: The backend has no dtype of that name.
    """
    name = str(dtype).removeprefix("torch.")
    if name != "auto" and name not in DTYPES:
        raise ConfigurationError(f"torch has no dtype {name!r} for towers; it has auto, {', '.join(DTYPES)}")
    return name


def name_of(dtype: torch.dtype) -> str:
    """Return the name of a dtype, such as "float32"."""
    return str(dtype).removeprefix("torch.")


def dtype_on(device: str, dtype: str) -> torch.dtype:
    """Return the dtype to compute in; "auto" is float16 on CUDA and float32 elsewhere."""
    if dtype != "auto":
        return DTYPES[dtype]
    return torch.float16 if device.startswith("cuda") else torch.float32


@cache
def let_forks_compute() -> None:
    """Make torch compute on one thread in processes that are forked from this one later.

    The threads of GNU's OpenMP do not survive a fork, and the child would wait for them forever. torch's own DataLoader
    does the same for its workers.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
