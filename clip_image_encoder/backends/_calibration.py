"""int8: a graph whose ranges were fitted to pictures by NNCF, and are stored with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clip_image_encoder.arrays import Pixels
from clip_image_encoder.backends._graph import Graph
from clip_image_encoder.backends._graph_store import find_or_make
from clip_image_encoder.backends._quiet import quiet_loggers
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

__all__ = ["Calibration", "Quantize", "quantized"]

Quantize = Callable[[Path, list[Pixels], Path], None]
"""Reads a graph, fits it to batches of one picture each, and writes the result."""

_DRAWN = 128


@dataclass(frozen=True, eq=False)
class Calibration:
    """Pictures that int8 is fitted to: a few hundred of those that it will see.

    Args:
        pixels: what the preprocess makes of them: `(n, H, W, 3)` uint8, or `(n, 3, H, W)` float32.

    Attributes:
        sha256: the start of the pixels' digest, by which graphs are told apart.

    Example:
        >>> import numpy as np
        >>> Calibration(np.zeros((2, 8, 8, 3), np.uint8))
        Calibration(sha256='48d22292c34c6aef')
    """

    pixels: Pixels = field(repr=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256(f"{self.pixels.dtype} {self.pixels.shape}".encode())
        digest.update(self.pixels.tobytes())
        object.__setattr__(self, "sha256", digest.hexdigest()[:16])


def quantized(graph: Graph, file: Path, calibration: Calibration | None, quantize: Quantize, name: str) -> Path:
    """Return the int8 form of a graph, after making it if it isn't there.

    Args:
        graph: what `file` computes.
        file: the graph in float32.
        calibration: pictures to fit it to; None draws some.
        quantize: does it, for one runtime.
        name: of the file that it writes, which says for which runtime.
    """

    def make(folder: Path) -> None:
        pixels = calibration.pixels if calibration else _drawn(graph)
        with quiet_loggers("nncf"):
            quantize(file, [pixels[row : row + 1] for row in range(len(pixels))], folder / name)

    return find_or_make(f"int8 1 {name} {calibration or 'drawn'} {graph.key}", make) / name


def _drawn(graph: Graph) -> Pixels:
    """Drawings of many colours and textures, as the graph takes them."""
    height, width = graph.image_size or graph.checkpoint.vision.image_size
    pixels = np.stack([np.asarray(draw(scene)) for scene in random_scenes(_DRAWN, canvas=(width, height))])
    if graph.pixels == "uint8":
        return pixels
    # Whatever normalised them before they come here, about so.
    normalised = (pixels.transpose(0, 3, 1, 2) / 255 - 0.45) / 0.27
    return normalised.astype(np.float32, order="C")
