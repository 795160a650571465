"""Verify a loaded tower: compare its vector of a known input with that of float32 on the CPU.

A GPU's driver, a kernel for one processor or a dtype may compute finite numbers that are wrong. So each tower that is
loaded onto another device than the CPU, or in another dtype than float32, is compared once in a process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._forks import no_fork
from clip_image_encoder._messages import in_one_line
from clip_image_encoder.backends._graph_store import find_or_make
from clip_image_encoder.backends._reference import REFERENCE_TEXT, Reference, one_vector
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import BackendError, ConfigurationError, EncoderError

__all__ = ["Verification", "is_exact", "kept"]

_EXACT = 0.9999
"""Smallest allowed cosine for float32 on a CPU, whose kernels only add in another order."""

_COSINES = {"float32": 0.999, "float16": 0.999, "bfloat16": 0.99, "int8": 0.9}
"""Smallest allowed cosine by dtype. float32 may be computed in TF32 on GPUs, and in float16 on Apple's processors."""

_MARGIN = 0.05
"""Distance by which the cosine of the known input may be below the worst cosine that int8 was measured with."""

_passed: set[tuple[str, str, str]] = set()
"""Keys, devices and dtypes of the towers that this process has verified."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A comparison of a loaded tower with a reference.

    Attributes:
        reference: Known input with its expected vector: that of float32 on the CPU, or of an int8 graph when it was
            made.
        key: Identifier of the tower; equal strings mean equal towers.
        name: Name of the checkpoint in messages.
        device: Name of the device that the tower is loaded on.
        dtype: Name of the dtype that the tower computes in.
        worst: Smallest cosine between int8 and float32 that was measured when the graph was made; None for the other
            dtypes.
        exact: Vector `(d,)` of the known input in float32, if the reference has that of an int8 graph; None if not.
            A processor without exact products of bytes computes the graph in float32, nearer to this vector.
    """

    reference: Reference
    key: str
    name: str
    device: str
    dtype: str
    worst: float | None = None
    exact: NDArray[np.float32] | None = None

    def check(self, run: Callable[..., NDArray[np.float32]]) -> None:
        """Compare the vector of the known input with the expected one.

        Args:
            run: Function from the reference's inputs to the features of the loaded tower.

        Raises:
            BackendError: The vector differs, or the tower raises an exception.
        """
        vector, least = self._vector(run), self._least
        cosine = max(_cosine(vector, right) for right in (self.reference.vector, self.exact) if right is not None)
        if not cosine >= least:
            raise BackendError(
                f"{self.name}: on {self.device} the vector of a known input is wrong: its cosine to the expected one "
                f"is {cosine:.4f}, and {self.dtype} has to reach {least:.4f}; use another version of the runtime or "
                "of the driver, another device or another dtype; verify=False skips this check"
            )
        _passed.add((self.key, self.device, self.dtype))

    def _vector(self, run: Callable[..., NDArray[np.float32]]) -> NDArray[np.float32]:
        try:
            with no_fork():
                return one_vector(run(*self.reference.inputs))
        except EncoderError:
            raise
        except Exception as error:
            raise BackendError(
                f"{self.name} can't run in {self.dtype} on {self.device}: {in_one_line(error)}"
            ) from error

    @property
    def _least(self) -> float:
        if self.worst is not None:
            return min(_COSINES[self.dtype], self.worst - _MARGIN)
        return _EXACT if is_exact(self.device, self.dtype) else _COSINES[self.dtype]


def _cosine(vector: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    one, two = vector.astype(np.float64), expected.astype(np.float64)
    lengths = np.linalg.norm(one) * np.linalg.norm(two)
    return float(one @ two / lengths) if one.shape == two.shape and lengths else 0.0


def is_exact(device: str, dtype: str) -> bool:
    """Tell whether a tower computes like its reference: in float32 on the CPU."""
    return (device, dtype) == ("cpu", "float32")


def is_due(key: str, device: str, dtype: str) -> bool:
    """Tell whether a tower has to be compared: it is not float32 on the CPU, and this process has not compared it yet.

    Args:
        key: Identifier of the tower; equal strings mean equal towers.
        device: Name of the device that the tower is loaded on.
        dtype: Name of the dtype that the tower computes in.
    """
    return not is_exact(device, dtype) and (key, device, dtype) not in _passed


def kept(
    checkpoint: Checkpoint, tower: str, device: str, dtype: str, make: Callable[[], Reference]
) -> Verification | None:
    """Return the comparison that a tower needs, with a reference that is stored on this machine; None if it needs none.

    Args:
        checkpoint: Checkpoint that the tower belongs to.
        tower: Identifier of the tower among those of the checkpoint, such as "text".
        device: Name of the device that the tower is loaded on.
        dtype: Name of the dtype that the tower computes in.
        make: Function that computes the reference, in some seconds; it is called once on a machine, or in each process
            if the cache can't be written to.
    """
    if is_exact(device, dtype):
        return None
    key = f"reference 1 {REFERENCE_TEXT!r} {tower} {checkpoint.stamp}"
    if not is_due(key, device, dtype):
        return None
    try:
        folder = find_or_make(key, lambda folder: make().write(folder))
    except ConfigurationError:
        reference = make()
    else:
        reference = Reference.read(folder)
    return Verification(reference=reference, key=key, name=checkpoint.name, device=device, dtype=dtype)
