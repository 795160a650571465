"""The numbers that a call is given, checked, and what they are by default."""

from __future__ import annotations

import os

import numpy as np

from clip_image_encoder.errors import ConfigurationError

__all__ = ["available_cores", "check_batch_size", "check_max_bytes", "check_num_workers", "check_on_error"]


def check_batch_size(batch_size: int, *, name: str = "batch_size") -> int:
    """Return the batch size, if it is a positive integer.

    Args:
        batch_size: what was given.
        name: of the argument that it was given as.

    Raises:
        ConfigurationError: it is not.
    """
    given: object = batch_size
    if isinstance(given, bool) or not isinstance(given, (int, np.integer)) or given < 1:
        raise ConfigurationError(f"{name} must be a positive integer, not {given!r}")
    return int(given)


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_num_workers(num_workers: int | None) -> int:
    """Return the number of loading threads: the one asked for, or one for each core.

    Raises:
        ConfigurationError: it is neither None nor an integer from 0.
    """
    if num_workers is None:
        return available_cores()
    given: object = num_workers
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise ConfigurationError(f"num_workers must be None or an integer from 0, not {given!r}")
    return given


def check_max_bytes(max_bytes: int) -> int:
    """Return the size of a cache, if it is positive.

    Raises:
        ConfigurationError: it is not.
    """
    if max_bytes < 1:
        raise ConfigurationError(f"max_bytes must be a positive integer, not {max_bytes!r}")
    return max_bytes


def check_on_error(on_error: str) -> None:
    """Check what `encode` is to do at a bad image.

    Raises:
        ConfigurationError: it is neither "raise" nor "nan".
    """
    if on_error not in ("raise", "nan"):
        raise ConfigurationError(f"on_error must be 'raise' or 'nan', not {on_error!r}")
