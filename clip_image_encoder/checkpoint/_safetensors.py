"""Safetensors files, opened with messages that say what to do; nothing in them is executed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from clip_image_encoder.checkpoint._files import Files
from clip_image_encoder.errors import CheckpointError

__all__ = ["open_safetensors", "stored_dtypes"]

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}


@contextmanager
def open_safetensors(files: Files, filename: str, framework: Literal["np", "pt"]) -> Iterator[Any]:
    """Open one of a checkpoint's safetensors files, and make sure afterwards that it is what it was.

    Args:
        files: The checkpoint's.
        filename: Name of the file.
        framework: Whose tensors are read: "np" for numpy's, "pt" for torch's.

    Raises:
        CheckpointError: The file is missing, damaged, or has changed.
    """
    path = files.path(filename)
    try:
        with safe_open(path, framework=framework) as reader:
            yield reader
        files.path(filename)
    except (SafetensorError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{files.name}: {filename} is damaged or cut short ({error}); delete it and fetch it again"
        ) from error


def stored_dtypes(files: Files, filename: str) -> list[str]:
    """Return the names of the types of the numbers in a safetensors file, the one of most numbers first.

    Its tensors are not read. Types that numpy and torch call otherwise, such as "I64", have the names of the format.

    Raises:
        CheckpointError: The file is missing, damaged, or has changed.
    """
    counts: Counter[str] = Counter()
    with open_safetensors(files, filename, "np") as reader:
        for name in reader.keys():  # noqa: SIM118 - it is no dict
            tensor = reader.get_slice(name)
            counts[tensor.get_dtype()] += math.prod(tensor.get_shape())
    return [_DTYPES.get(dtype, dtype) for dtype, _ in counts.most_common()]
