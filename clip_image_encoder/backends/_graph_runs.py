"""Graphs that are exported when they are first needed, kept on disk, and loaded once for each device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._messages import first_line
from clip_image_encoder.backends._apart import run_apart
from clip_image_encoder.backends._graph import Graph, Kind, Run
from clip_image_encoder.backends._graph_store import find_or_make
from clip_image_encoder.backends._loaded import Loaded
from clip_image_encoder.backends._reference import Reference, one_vector
from clip_image_encoder.backends._verification import Verification, is_due
from clip_image_encoder.errors import BackendError, EncoderError, MissingExtraError

if TYPE_CHECKING:
    from clip_image_encoder.backends._export import Example

__all__ = ["GraphRuns", "Runtime"]

_FILE = "model.onnx"
_TOLERANCE = 1e-3


class Runtime(Protocol):
    """What runs ONNX files; a frozen dataclass, since it is pickled and described with its backend."""

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices it can run on, the best first."""
        ...

    @property
    def dtype(self) -> str:
        """Name of the dtype that it computes in."""
        ...

    @property
    def fingerprint(self) -> str:
        """Same string, same numbers from the same graph."""
        ...

    def prepare(self, graph: Graph, file: Path) -> Path:
        """Return the file to run for an exported graph: its own, or one that was made of it in another dtype."""
        ...

    def open(self, file: Path, device: str, *, kind: Kind, kept: Path | None) -> Run:
        """Load what `prepare` returned onto a device.

        Args:
            file: The graph.
            device: One of `devices`.
            kind: Which tower it is of: images are loaded on other threads while a vision tower runs.
            kept: Folder for what is made of the graph for this machine; None keeps nothing.
        """
        ...

    def open_exactly(self, file: Path) -> Run:
        """Load a graph on the CPU in the numbers that it was written in, and keep nothing on disk."""
        ...


class GraphRuns:
    """The graphs of one backend, each loaded when it is first asked for; several threads may ask at a time.

    A graph is exported by torch in a process of its own, and compared with torch's results; here torch is not even
    imported.

    Args:
        runtime: Runs the graphs.
        verify: Whether a graph is compared with float32 on the CPU where it is loaded.
    """

    def __init__(self, runtime: Runtime, *, verify: bool) -> None:
        self._runtime = runtime
        self._verify = verify
        self._loaded: Loaded[Run] = Loaded()

    def on(self, device: str, graph: Graph) -> Run:
        """Return what runs a graph on a device.

        Raises:
            CheckpointError: The weights are missing, damaged or of another model.
            BackendError: The exported graph gives other features than torch, here or when it was exported, or it
                can't be loaded.
            ConfigurationError: The graph can't be kept.
        """
        return self._loaded.of(f"{device} {graph}", partial(self._verified, device, graph))

    def file(self, graph: Graph) -> Path:
        """Return the file of a graph in the runtime's dtype, after making it if it isn't there.

        Raises:
            EncoderError: As `on`.
        """
        return self._runtime.prepare(graph, self._folder(graph) / _FILE)

    def reference(self, graph: Graph) -> Reference:
        """Return a known input, and the vector that torch gave of it in float32 when the graph was exported.

        Raises:
            EncoderError: As `on`.
        """
        return Reference.read(self._folder(graph))

    def _folder(self, graph: Graph) -> Path:
        return find_or_make(graph.key, lambda folder: self._make(graph, folder / _FILE))

    def _key(self, graph: Graph) -> str:
        return f"{self._runtime.fingerprint} {graph.key}"

    def _verification(self, graph: Graph, file: Path, device: str) -> Verification:
        return Verification(
            reference=Reference.read(file.parent),
            key=self._key(graph),
            name=graph.checkpoint.name,
            device=device,
            dtype=self._runtime.dtype,
        )

    def _verified(self, device: str, graph: Graph) -> Run:
        file = self.file(graph)
        run = self._open(file, device, graph.kind)
        if self._verify and is_due(self._key(graph), device, self._runtime.dtype):
            self._verification(graph, file, device).check(run)
        return run

    def _open(self, file: Path, device: str, kind: Kind) -> Run:
        try:
            return self._runtime.open(file, device, kind=kind, kept=file.parent)
        except EncoderError:
            raise
        except Exception as error:
            raise BackendError(
                f"{self._runtime} can't load its graph on {device}: {type(error).__name__}: {first_line(error)}; "
                f"if the file is damaged, delete {file.parent}, and it is made anew"
            ) from error

    def _make(self, graph: Graph, file: Path) -> None:
        check_can_export()
        examples = run_apart(partial(_export, graph, file), near=file.parent)
        run = self._runtime.open_exactly(file)
        difference = max(_difference(run(*inputs), expected) for inputs, expected in examples)
        if not difference < _TOLERANCE:
            raise BackendError(
                f"{graph.checkpoint.name}: the exported graph differs from torch by {difference:.1e} of the largest "
                "feature; use backend='torch', and report it"
            )
        inputs, features = examples[0]
        Reference(inputs=inputs, vector=one_vector(features)).write(file.parent)


def check_can_export() -> None:
    """Check that the packages are there that export towers as graphs.

    Raises:
        MissingExtraError: One is not.
    """
    for package in ("torch", "transformers", "safetensors", "onnx", "onnxscript"):
        if find_spec(package) is None:
            what = "'clip-image-encoder[export]'"
            if package in ("torch", "transformers", "safetensors"):  # installed without its requirements
                what = f"{package} {what}"
            raise MissingExtraError(
                f"the first start makes a graph, which needs {package}: python -m pip install {what}"
            )


def _difference(features: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference, in parts of the largest feature."""
    return float(np.abs(features - expected).max() / np.abs(expected).max())


def _export(graph: Graph, file: Path) -> list[Example]:
    from clip_image_encoder.backends._export import export

    return export(graph, file)
