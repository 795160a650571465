"""int8 graphs: NNCF fits their quantization ranges to images or texts; a graph is made once and stored on disk."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import Pixels
from clip_image_encoder.backends._apart import run_apart
from clip_image_encoder.backends._fitting import PLANS, Plan
from clip_image_encoder.backends._graph import Graph, Run
from clip_image_encoder.backends._graph_store import find_or_make
from clip_image_encoder.backends._quality import LEAST_COSINE, Quality, check_quality, compared, write_quality
from clip_image_encoder.backends._reference import Reference, one_vector
from clip_image_encoder.backends._samples import Inputs, samples_of
from clip_image_encoder.errors import BackendError, ConfigurationError, MissingExtraError

__all__ = ["Calibration", "Quantize", "Quantizer"]

Quantize = Callable[[Path, Sequence[Inputs], Plan, Path], None]
"""A function that reads a graph, fits it to samples by a plan, and writes it: `(source, samples, plan, target)`."""

_SCHEME = 6
"""Version of the way in which int8 graphs are made; raise it when the same inputs become another int8 graph."""

_COMPARED = 64
"""Largest number of samples whose vectors are compared with those of float32."""

_COSINE_ELSEWHERE = 0.9
"""Smallest allowed mean cosine to float32 on drawings, for a graph that was fitted to images that a user gave.

Measured: 0.98 for a graph that was fitted to noise, 0.95 to a single image, 0.79 to black images.
"""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Images that an int8 graph is fitted to: a few hundred like those that the model will see.

    Args:
        pixels: Preprocessed images `(n, H, W, 3)` uint8, or `(n, 3, H, W)` float32 that is normalized already.

    Raises:
        ConfigurationError: There are no images.

    Attributes:
        sha256: First 16 hexadecimal digits of the SHA-256 of the pixels; it identifies the graphs fitted to them.

    Example:
        >>> import numpy as np
        >>> Calibration(np.zeros((2, 8, 8, 3), np.uint8))
        Calibration(sha256='48d22292c34c6aef')
    """

    pixels: Pixels = field(repr=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        if not len(self.pixels):
            raise ConfigurationError("Calibration has no images; give a few hundred like those that the model will see")
        digest = hashlib.sha256(f"{self.pixels.dtype} {self.pixels.shape}".encode())
        digest.update(self.pixels.tobytes())
        object.__setattr__(self, "sha256", digest.hexdigest()[:16])


@dataclass(frozen=True, kw_only=True)
class Quantizer:
    """Makes int8 graphs for one runtime.

    Args:
        runtime: Name and version of the runtime, such as "openvino 2025.4".
        quantize: Function that makes the int8 graph; it runs in a process of its own.
        open_exactly: Function that loads a graph of this runtime, int8 or float32, onto the CPU.
        name: Name of the file that is written, such as "int8.onnx".
    """

    runtime: str
    quantize: Quantize
    open_exactly: Callable[[Path], Run]
    name: str

    @property
    def versions(self) -> str:
        """The versions of the programs that make an int8 graph, which decide its numbers besides its samples.

        Raises:
            MissingExtraError: NNCF is not installed.
        """
        try:
            return f"scheme {_SCHEME}, nncf {version('nncf')}, {self.runtime}"
        except PackageNotFoundError as error:
            raise MissingExtraError(
                "dtype 'int8' needs nncf: python -m pip install 'clip-image-encoder[export]'"
            ) from error

    def quantized(
        self, graph: Graph, file: Path, calibration: Calibration | None, least_cosine: float = LEAST_COSINE
    ) -> Path:
        """Return the file of a graph's int8 form, which is made if it isn't there; its quality is stored beside it.

        Args:
            graph: Description of the graph.
            file: ONNX file of the graph in float32.
            calibration: Images that a vision tower is fitted to; None means 128 drawings, or captions for a text
                tower.
            least_cosine: Smallest allowed mean cosine between the vectors of int8 and float32.

        Raises:
            BackendError: The vectors of int8 are too far from those of float32.
        """

        def make(folder: Path) -> None:
            made = samples_of(graph)
            given = [{"pixels": row[None]} for row in calibration.pixels] if calibration else made
            fitted = folder / self.name
            write_quality(self._fit(file, given, folder), folder)
            known = Reference.read(file.parent).inputs
            Reference(inputs=known, vector=one_vector(self.open_exactly(fitted)(*known))).write(folder)
            elsewhere = self._compared(file, fitted, made) if calibration else None
            if elsewhere and not elsewhere.mean >= _COSINE_ELSEWHERE:
                raise BackendError(
                    f"int8 vectors of drawings have a mean cosine of {elsewhere.mean:.2f} to those of float32, and "
                    f"need {_COSINE_ELSEWHERE}; give a Calibration of a few hundred varied images like those that the "
                    "model will see, or use dtype='float32'"
                )

        key = f"int8 {self.name} {self.versions} {calibration or 'drawn'} {graph.key}"
        fitted = find_or_make(key, make) / self.name
        check_quality(fitted, least_cosine)
        return fitted

    def _fit(self, file: Path, samples: Sequence[Inputs], folder: Path) -> Quality:
        """Write the int8 form of a graph into a folder, by the first plan that is near enough, or else by the best."""
        few = _few(samples)
        exact = _features(self.open_exactly(file), few)
        tried: list[tuple[Quality, Path]] = []
        for number, plan in enumerate(PLANS):
            attempt = folder / str(number)
            attempt.mkdir()
            run_apart(partial(self.quantize, file, samples, plan, attempt / self.name), near=folder)
            made = _features(self.open_exactly(attempt / self.name), few)
            tried.append((compared(exact, made), attempt))
            if tried[-1][0].is_near:
                break
        quality, best = tried[-1] if tried[-1][0].is_near else max(tried, key=lambda one: one[0].mean)
        for part in best.iterdir():
            part.rename(folder / part.name)
        for _, attempt in tried:
            shutil.rmtree(attempt)
        return quality

    def _compared(self, exact: Path, fitted: Path, samples: Sequence[Inputs]) -> Quality:
        few = _few(samples)
        return compared(_features(self.open_exactly(exact), few), _features(self.open_exactly(fitted), few))


def _few(samples: Sequence[Inputs]) -> Sequence[Inputs]:
    return samples[:: -(-len(samples) // _COMPARED)]


def _features(run: Run, samples: Sequence[Inputs]) -> NDArray[np.float32]:
    return np.concatenate([run(*sample.values()).reshape(1, -1) for sample in samples])
