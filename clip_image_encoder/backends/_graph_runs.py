"""Graphs of a runtime: exported when they are first needed, stored on disk, and loaded once for each device.

    checkpoint  -- exported by torch, in a process of its own -->  model.onnx, float32, compared with torch
    model.onnx  -- Runtime.prepare: fitted by NNCF for int8   -->  int8.onnx or int8.xml; or model.onnx itself
    the file    -- Runtime.open, for a device                 -->  Run: pixels or token ids to features

`GraphRuns` takes these steps for a backend; the files lie in folders of `_graph_store`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._messages import in_one_line
from clip_image_encoder.backends._apart import run_apart
from clip_image_encoder.backends._graph import Graph, Run
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
    """A runtime of ONNX files, in one dtype; a frozen dataclass, since it is pickled and shown with its backend."""

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices it can run on, the best first."""
        ...

    @property
    def dtype(self) -> str:
        """Name of the dtype that it computes in, such as "float32"."""
        ...

    @property
    def fingerprint(self) -> str:
        """Identifier of the numbers that it computes from a graph, made of its settings and of versions."""
        ...

    def prepare(self, graph: Graph, file: Path) -> Path:
        """Return the file to run for an exported graph: the given one, or its form in another dtype.

        Args:
            graph: Description of the graph.
            file: ONNX file of the graph in float32.
        """
        ...

    def open(self, file: Path, device: str, *, patches: int | None, kept: Path | None) -> Run:
        """Load a graph onto a device.

        Args:
            file: File of the graph, which `prepare` returned.
            device: Name of the device, one of `devices`.
            patches: Number of patches of an image; None for a text tower. While a vision tower runs, other threads
                need the CPU to load images.
            kept: Folder in which the form compiled for this machine is stored; None stores nothing.
        """
        ...

    def open_exactly(self, file: Path) -> Run:
        """Load a graph onto the CPU, to compute in the dtypes that are written in it, and store nothing on disk."""
        ...


class GraphRuns:
    """The graphs of one backend, each loaded when it is first used; several threads may use them at once.

    A graph is exported by torch in a process of its own, and compared with torch's features; this process does not
    import torch.

    Args:
        runtime: Runtime that runs the graphs.
        verify: Whether a graph is compared with float32 on the CPU when it is loaded onto another device or in
            another dtype.
    """

    def __init__(self, runtime: Runtime, *, verify: bool) -> None:
        self._runtime = runtime
        self._verify = verify
        self._loaded: Loaded[Run] = Loaded()

    def on(self, device: str, graph: Graph) -> Run:
        """Return the function that runs a graph on a device, which the first call exports, loads and verifies.

        Raises:
            CheckpointError: The weights are missing, damaged or of another model.
            BackendError: The features of the graph differ from those of torch, on this device or when it was
                exported, or the graph can't be loaded.
            ConfigurationError: The cache can't be written to.
        """
        return self._loaded.of(f"{device} {graph}", partial(self._verified, device, graph))

    def file(self, graph: Graph) -> Path:
        """Return the file of a graph in the runtime's dtype, which is made if it isn't there.

        Raises:
            EncoderError: The graph can't be exported or stored, as `on` says.
        """
        return self._runtime.prepare(graph, self._folder(graph) / _FILE)

    def reference(self, graph: Graph) -> Reference:
        """Return a known input and its vector, computed by torch in float32 when the graph was exported.

        Raises:
            EncoderError: The graph can't be exported or stored, as `on` says.
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
            exact=self.reference(graph).vector if self._runtime.dtype == "int8" else None,
        )

    def _verified(self, device: str, graph: Graph) -> Run:
        file = self.file(graph)
        run = self._open(file, device, graph.patches)
        if self._verify and is_due(self._key(graph), device, self._runtime.dtype):
            self._verification(graph, file, device).check(run)
        return run

    def _open(self, file: Path, device: str, patches: int | None) -> Run:
        try:
            return self._runtime.open(file, device, patches=patches, kept=file.parent)
        except EncoderError:
            raise
        except Exception as error:
            raise BackendError(
                f"{self._runtime} can't load its graph on {device}: {in_one_line(error)}; "
                f"if the file is damaged, delete {file.parent}, and the graph is made again"
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
    """Check that the packages that export towers are installed.

    Raises:
        MissingExtraError: One of the packages is not installed.
    """
    for package in ("torch", "transformers", "safetensors", "onnx", "onnxscript"):
        if find_spec(package) is None:
            what = "'clip-image-encoder[export]'"
            if package in ("torch", "transformers", "safetensors"):  # this package was installed with pip --no-deps
                what = f"{package} {what}"
            raise MissingExtraError(
                f"exporting the graph, at the first start, needs {package}: python -m pip install {what}"
            )


def _difference(features: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Return the largest difference between two sets of features, divided by the largest expected feature."""
    return float(np.abs(features - expected).max() / np.abs(expected).max())


def _export(graph: Graph, file: Path) -> list[Example]:
    from clip_image_encoder.backends._export import export

    return export(graph, file)
