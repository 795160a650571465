"""One name per shape: what travels between the components, as numpy arrays."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pixels", "Tokens", "Vectors"]

Pixels: TypeAlias = NDArray[np.uint8] | NDArray[np.float32]
"""One picture or a batch of them, at the model's size.

Either `(H, W, 3)` or `(n, H, W, 3)` uint8 RGB, which the backend normalises on its device;
or `(3, H, W)` or `(n, 3, H, W)` float32, which is taken as normalised already.
"""

Tokens: TypeAlias = NDArray[np.float32]
"""`(n, 1 + patches, d)` float32: the class token first where the model has one, then the patches."""

Vectors: TypeAlias = NDArray[np.float32]
"""`(n, d)` float32, a row for each picture or text."""
