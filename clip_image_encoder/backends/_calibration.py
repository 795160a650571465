"""int8: a graph whose ranges were fitted to pictures by NNCF, and are stored with it."""

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
"""Reads a graph, fits it to samples by a plan, and writes the result."""

_SCHEME = 5
"""Counts up when the same graph and the same samples become another int8 graph."""

_COMPARED = 64
"""Number of samples that are compared at most; they tell whether the ranges fit."""

_COSINE_ELSEWHERE = 0.9
"""With drawings, if it was fitted to other pictures: noise leads to 0.98, one picture to 0.95, black ones to 0.79."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Images that int8 is fitted to: a few hundred of those that it will see.

    Args:
        pixels: What the preprocess makes of the images: `(n, H, W, 3)` uint8, or `(n, 3, H, W)` float32.

    Raises:
        ConfigurationError: There are no images.

    Attributes:
        sha256: The start of the pixels' digest, by which graphs are told apart.

    Example:
        >>> import numpy as np
        >>> Calibration(np.zeros((2, 8, 8, 3), np.uint8))
        Calibration(sha256='48d22292c34c6aef')
    """

    pixels: Pixels = field(repr=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        if not len(self.pixels):
            raise ConfigurationError("Calibration needs pictures, a few hundred of those that the model will see")
        digest = hashlib.sha256(f"{self.pixels.dtype} {self.pixels.shape}".encode())
        digest.update(self.pixels.tobytes())
        object.__setattr__(self, "sha256", digest.hexdigest()[:16])


@dataclass(frozen=True, kw_only=True)
class Quantizer:
    """Makes int8 graphs for one runtime.

    Args:
        runtime: the runtime's name and version.
        quantize: makes a graph that this runtime reads; runs in a process of its own.
        open_exactly: loads such a graph, or one in float32, on the CPU.
        name: of the file that is written.
    """

    runtime: str
    quantize: Quantize
    open_exactly: Callable[[Path], Run]
    name: str

    @property
    def versions(self) -> str:
        """What decides an int8 graph beside its pictures: how it is made, and by what.

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
        """Return the int8 form of a graph, after making it if it isn't there; its quality is stored beside it.

        Args:
            graph: What `file` computes.
            file: The graph in float32.
            calibration: Images to fit a vision tower to; None draws some, and writes some texts for a text tower.
            least_cosine: What the mean cosine to float32 has to reach.

        Raises:
            BackendError: The int8 form gives other vectors than the graph.
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
                    f"need {_COSINE_ELSEWHERE}; give a Calibration of some hundred varied pictures, as the model will "
                    "see them, or use dtype='float32'"
                )

        key = f"int8 {self.name} {self.versions} {calibration or 'drawn'} {graph.key}"
        fitted = find_or_make(key, make) / self.name
        check_quality(fitted, least_cosine)
        return fitted

    def _fit(self, file: Path, samples: Sequence[Inputs], folder: Path) -> Quality:
        """Fill a folder with the int8 form of a graph by the first plan that is near enough, or else by the nearest."""
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
