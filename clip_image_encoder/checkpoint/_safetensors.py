"""Reading of safetensors files, with error messages that say what to do; nothing in the files is executed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from clip_image_encoder.checkpoint._files import Files
from clip_image_encoder.errors import CheckpointError

__all__ = ["open_safetensors", "stored_dtypes", "tensor_names"]

_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"}


@contextmanager
def open_safetensors(files: Files, filename: str, framework: Literal["np", "pt"]) -> Iterator[Any]:
    """Open one of a checkpoint's safetensors files, and check afterwards that it has not changed meanwhile.

    Args:
        files: Files of the checkpoint.
        filename: Name of the file.
        framework: Kind of the tensors that are read: "np" for numpy's, "pt" for torch's.

    Raises:
        CheckpointError: The file is missing, is damaged, or has changed.
    """
    # Imported here, since exported folders are run without safetensors.
    from safetensors import SafetensorError, safe_open

    path = files.path(filename)
    try:
        with safe_open(path, framework=framework) as reader:
            yield reader
        files.path(filename)
    except (SafetensorError, OSError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"{files.name}: {filename} is damaged or cut short ({error}); delete it and download it again"
        ) from error


def tensor_names(files: Files, filename: str) -> list[str]:
    """Return the names of the tensors in a safetensors file; its tensors are not read.

    Raises:
        CheckpointError: The file is missing, damaged, or has changed.
    """
    with open_safetensors(files, filename, "np") as reader:
        return list(reader.keys())


def stored_dtypes(files: Files, filename: str) -> list[str]:
    """Return the names of the dtypes in a safetensors file, the dtype of most numbers first; no tensor is read.

    Floating dtypes have torch's names, such as "float32", and all others those of the format, such as "I64".

    Raises:
        CheckpointError: The file is missing, is damaged, or has changed.
    """
    counts: Counter[str] = Counter()
    with open_safetensors(files, filename, "np") as reader:
        for name in reader.keys():  # noqa: SIM118 - the reader is not a dict
            tensor = reader.get_slice(name)
            counts[tensor.get_dtype()] += math.prod(tensor.get_shape())
    return [_DTYPES.get(dtype, dtype) for dtype, _ in counts.most_common()]
