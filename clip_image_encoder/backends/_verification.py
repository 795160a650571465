"""Whether a tower gives, where it was loaded, the vectors that float32 gives on the CPU.

A GPU's driver, a runtime's kernel for one processor, a dtype: each may give finite numbers that are wrong. Whatever is
loaded on another device than the CPU, or in another dtype than float32, is compared once in a process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._forks import no_fork
from clip_image_encoder._messages import first_line
from clip_image_encoder.backends._graph_store import find_or_make
from clip_image_encoder.backends._reference import REFERENCE_TEXT, Reference, one_vector
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import BackendError, ConfigurationError, EncoderError

__all__ = ["Verification", "is_exact", "kept"]

_EXACT = 0.9999
"""The cosine that float32 on a CPU has to reach: kernels add in another order, and nothing else."""

_COSINES = {"float32": 0.999, "float16": 0.999, "bfloat16": 0.99, "int8": 0.9}
"""The cosine that a dtype has to reach: GPUs may compute float32 in TF32, and Apple's processors in float16."""

_MARGIN = 0.05
"""How much less one image may reach than the worst of those that int8 was fitted to."""

_passed: set[tuple[str, str, str]] = set()
"""The keys, devices and dtypes that this process needs not doubt any more."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A comparison that is due.

    Attributes:
        reference: What has to come, and of what: the vector of float32 on the CPU, or of an int8 graph when it was
            made.
        key: Same string, same tower.
        name: The checkpoint as messages call it.
        device: Where the tower is loaded.
        dtype: Name of the dtype that it computes in.
        worst: The least cosine among the images or texts that int8 was fitted to; None for the other dtypes.
    """

    reference: Reference
    key: str
    name: str
    device: str
    dtype: str
    worst: float | None = None

    def check(self, run: Callable[..., NDArray[np.float32]]) -> None:
        """Compare what is loaded.

        Args:
            run: Returns the features of the reference's inputs.

        Raises:
            BackendError: It gives another vector, or fails.
        """
        cosine, least = self._cosine(self._vector(run)), self._least
        if not cosine >= least:
            raise BackendError(
                f"{self.name}: on {self.device} a known input has another vector than it has to have: their "
                f"cosine is {cosine:.4f}, and {self.dtype} explains {least:.4f}; take another version of the runtime "
                "or its driver, another device or another dtype; verify=False leaves the comparison out"
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
                f"{self.name} can't run in {self.dtype} on {self.device}: {type(error).__name__}: {first_line(error)}"
            ) from error

    def _cosine(self, vector: NDArray[np.float32]) -> float:
        one, two = vector.astype(np.float64), self.reference.vector.astype(np.float64)
        lengths = np.linalg.norm(one) * np.linalg.norm(two)
        return float(one @ two / lengths) if one.shape == two.shape and lengths else 0.0

    @property
    def _least(self) -> float:
        if self.worst is not None:
            return min(_COSINES[self.dtype], self.worst - _MARGIN)
        return _EXACT if is_exact(self.device, self.dtype) else _COSINES[self.dtype]


def is_exact(device: str, dtype: str) -> bool:
    """Tell whether a tower computes as its reference does."""
    return (device, dtype) == ("cpu", "float32")


def is_due(key: str, device: str, dtype: str) -> bool:
    """Tell whether a tower is to be compared where it is loaded now.

    Args:
        key: Same string, same tower.
        device: Where it is loaded.
        dtype: Name of the dtype that it computes in.
    """
    return not is_exact(device, dtype) and (key, device, dtype) not in _passed


def kept(
    checkpoint: Checkpoint, tower: str, device: str, dtype: str, make: Callable[[], Reference]
) -> Verification | None:
    """Return the comparison that is due where a tower is loaded now, with a reference that is kept on this machine.

    Args:
        checkpoint: Whose tower it is.
        tower: Tells the tower from others of the checkpoint.
        device: Where it is loaded.
        dtype: Name of the dtype that it computes in.
        make: Computes the reference, in seconds: once, or each time where nothing can be kept on disk.
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
