"""The backend "onnx": vision and text towers in ONNX Runtime, in float32 or int8, on its execution providers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._arguments import check_number
from clip_image_encoder._devices import Devices
from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.backends._calibration import Calibration, Quantizer
from clip_image_encoder.backends._fitting import Plan, fit
from clip_image_encoder.backends._graph import Graph, Run
from clip_image_encoder.backends._graph_backend import GraphBackend
from clip_image_encoder.backends._graph_text import GraphTextBackend
from clip_image_encoder.backends._onnx_int8 import give_each_product_its_steps, scale_rows_that_are_read
from clip_image_encoder.backends._onnx_parts import split_batches
from clip_image_encoder.backends._onnx_providers import devices, open_session
from clip_image_encoder.backends._quality import LEAST_COSINE
from clip_image_encoder.backends._samples import Inputs
from clip_image_encoder.backends._telemetry import without_telemetry
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError

with without_telemetry():
    import onnxruntime

__all__ = ["Calibration", "OnnxBackend", "OnnxRuntime", "OnnxTextBackend", "devices", "load", "load_text"]

_DTYPES = ("auto", "float32", "int8")


@dataclass(frozen=True, kw_only=True)
class OnnxRuntime:
    """ONNX Runtime as a runtime of graphs; its devices are the execution providers of the installed build.

    Args:
        dtype: Name of the dtype to compute in, "float32" or "int8".
        calibration: Images that an int8 graph is fitted to; None means 128 drawings, or captions for a text tower.
        least_cosine: Smallest allowed mean cosine between the vectors of int8 and float32; it changes no vector.
    """

    dtype: str = "float32"
    calibration: Calibration | None = None
    least_cosine: float = field(default=LEAST_COSINE, repr=False)

    def __post_init__(self) -> None:
        check_number(self.least_cosine, name="least_cosine", kind="a finite number")

    @property
    def devices(self) -> Sequence[str]:
        """Short names of the execution providers: those that work here, the best first, then the others."""
        return devices()

    @property
    def fingerprint(self) -> str:
        """Identifier of the numbers: the dtype and the calibration, and for int8 the versions that made the graph."""
        return f"{self}" if self.dtype != "int8" else f"{self}, {self._quantizer.versions}"

    def prepare(self, graph: Graph, file: Path) -> Path:
        """Return the file of a graph, or that of its int8 form, which is made if it isn't there."""
        return (
            file
            if self.dtype != "int8"
            else self._quantizer.quantized(graph, file, self.calibration, self.least_cosine)
        )

    def open(self, file: Path, device: str, *, patches: int | None, kept: Path | None) -> Run:  # noqa: ARG002 - keeps nothing
        """Load a graph onto a device.

        Raises:
            BackendError: ONNX Runtime fell back to another device.
        """
        run = _runner(open_session(file, device, spins=patches is None, int8=self.dtype == "int8"))
        return split_batches(run, patches) if device == "cpu" else run

    def open_exactly(self, file: Path) -> Run:
        """Load a graph onto the CPU."""
        return _runner(open_session(file, "cpu", int8=self.dtype == "int8"))

    @property
    def _quantizer(self) -> Quantizer:
        return Quantizer(
            runtime=f"onnxruntime {onnxruntime.__version__}",
            quantize=_quantize,
            open_exactly=self.open_exactly,
            name="int8.onnx",
        )


class OnnxBackend(GraphBackend):
    """Runs a checkpoint's vision tower in ONNX Runtime, as a graph that was exported once and is kept on disk.

    The first start exports the graph with torch, in a process of its own. Several threads may call the backend at
    once. A pickled backend contains its settings, not the graph.

    Args:
        checkpoint: Checkpoint to run, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        pixel_format: Size of the pixels that the backend will be given, and how it normalizes uint8 pixels.
        dtype: "float32" or "int8"; "auto" means float32.
        device: Short name of an execution provider of the installed build: "cpu", "cuda", "tensorrt", "rocm",
            "migraphx", "coreml", "dml", "openvino" or "webgpu"; None means the first of cuda, rocm, dml, coreml and
            cpu that works here.
        calibration: Images that an int8 graph is fitted to; None means 128 drawings.
        least_cosine: Smallest allowed mean cosine between the vectors of int8 and float32.
        verify: Whether the vector of a known image is compared with that of float32 in torch, once in a process for
            each device other than the CPU and each dtype other than float32.

    Raises:
        ConfigurationError: The device is not there, or the dtype or the size is not supported.
        CheckpointError: The weights are missing, damaged or of another model.
        BackendError: The features of the graph differ from those of torch, the vectors of int8 are too far from those
            of float32, or ONNX Runtime fell back to another device.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        /,
        *,
        pixel_format: PixelFormat,
        dtype: str = "auto",
        device: Devices = None,
        calibration: Calibration | None = None,
        least_cosine: float = LEAST_COSINE,
        verify: bool = True,
    ) -> None:
        runtime = OnnxRuntime(dtype=_checked(dtype), calibration=calibration, least_cosine=least_cosine)
        super().__init__(checkpoint, runtime, pixel_format=pixel_format, device=device, verify=verify)


class OnnxTextBackend(GraphTextBackend):
    """Runs a checkpoint's text tower in ONNX Runtime, as a graph that was exported once and is kept on disk.

    The first start exports the graph with torch, in a process of its own. Several threads may call the backend at
    once. A pickled backend contains its settings, not the graph.

    Args:
        checkpoint: Checkpoint to run, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        dtype: "float32" or "int8"; "auto" means float32.
        device: Short name of an execution provider, such as "cpu" or "cuda", as for `OnnxBackend`; None means the best
            one that works here.
        least_cosine: Smallest allowed mean cosine between the vectors of int8 and float32.
        verify: Whether the vector of a known text is compared with that of float32 in torch, once in a process for
            each device other than the CPU and each dtype other than float32.

    Raises:
        ConfigurationError: The device is not there, or the dtype is not supported.
        CheckpointError: The checkpoint has no text tower, or the weights are missing, damaged or of another model.
        BackendError: The vectors of the graph differ from those of torch, the vectors of int8 are too far from those
            of float32, or ONNX Runtime fell back to another device.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        /,
        *,
        dtype: str = "auto",
        device: Devices = None,
        least_cosine: float = LEAST_COSINE,
        verify: bool = True,
    ) -> None:
        runtime = OnnxRuntime(dtype=_checked(dtype), least_cosine=least_cosine)
        super().__init__(checkpoint, runtime, device=device, verify=verify)


RUNTIME = OnnxRuntime
load = OnnxBackend
load_text = OnnxTextBackend


def _checked(dtype: str) -> str:
    """Return the name of a supported dtype, with "auto" resolved.

    Raises:
        ConfigurationError: The backend has no dtype of that name.
    """
    if dtype not in _DTYPES:
        raise ConfigurationError(f"onnx has no dtype {dtype!r}; it has {', '.join(_DTYPES)}")
    return "float32" if dtype == "auto" else dtype


def _runner(session: onnxruntime.InferenceSession) -> Run:
    names = [node.name for node in session.get_inputs()]

    def run(*inputs: NDArray[Any]) -> NDArray[np.float32]:
        features: NDArray[np.float32] = session.run(None, dict(zip(names, inputs, strict=True)))[0]
        return features

    return run


@without_telemetry()
def _quantize(file: Path, samples: Sequence[Inputs], plan: Plan, target: Path) -> None:
    import onnx

    exact = onnx.load(file)
    # ONNX Runtime computes a convolution in float, between conversions, unless its result is quantized, too: a network
    # of convolutions like ALIGN's took 1.4 times as long as in float32.
    convolutions = [node.name for node in exact.graph.node if node.op_type == "Conv"]
    fitted = fit(exact, file, samples, plan, convolutions)
    give_each_product_its_steps(fitted.graph)
    scale_rows_that_are_read(fitted.graph)
    onnx.save(fitted, target, save_as_external_data=True, location=f"{target.name}.data")
