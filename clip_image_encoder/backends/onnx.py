"""Both towers in ONNX Runtime: float32 and int8, on the CPU and on whatever its build can run on."""

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
from clip_image_encoder.backends._graph import Graph, Kind, Run
from clip_image_encoder.backends._graph_backend import GraphBackend
from clip_image_encoder.backends._graph_text import GraphTextBackend
from clip_image_encoder.backends._onnx_int8 import give_each_product_its_steps
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
    """ONNX Runtime; its devices are the execution providers of the build that is installed.

    Args:
        dtype: "float32", or "int8".
        calibration: Images that int8 is fitted to; None draws some.
        least_cosine: What the mean cosine of int8 vectors to those of float32 has to reach; it changes no vector.
    """

    dtype: str = "float32"
    calibration: Calibration | None = None
    least_cosine: float = field(default=LEAST_COSINE, repr=False)

    def __post_init__(self) -> None:
        check_number(self.least_cosine, name="least_cosine", kind="a finite number")

    @property
    def devices(self) -> Sequence[str]:
        """Its execution providers by their short names: those that come up here, the best first, then the others."""
        return devices()

    @property
    def fingerprint(self) -> str:
        """Its settings; for int8 also the versions of what made the graph."""
        return f"{self}" if self.dtype != "int8" else f"{self}, {self._quantizer.versions}"

    def prepare(self, graph: Graph, file: Path) -> Path:
        """Return the graph's file, or that of its int8 form."""
        return (
            file
            if self.dtype != "int8"
            else self._quantizer.quantized(graph, file, self.calibration, self.least_cosine)
        )

    def open(self, file: Path, device: str, *, kind: Kind, kept: Path | None) -> Run:  # noqa: ARG002 - it keeps nothing
        """Load a graph.

        Raises:
            BackendError: ONNX Runtime came up on another device.
        """
        session = open_session(file, device, spins=kind == "text", int8=self.dtype == "int8")
        names = [node.name for node in session.get_inputs()]

        def run(*inputs: NDArray[Any]) -> NDArray[np.float32]:
            features: NDArray[np.float32] = session.run(None, dict(zip(names, inputs, strict=True)))[0]
            return features

        return run

    def open_exactly(self, file: Path) -> Run:
        """Load a graph on the CPU."""
        return self.open(file, "cpu", kind="vision", kept=None)

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

    It may be called from several threads. Pickled, it carries its settings, not the graph.

    Args:
        checkpoint: From `clip_image_encoder.checkpoint.open_checkpoint`.
        pixel_format: Size of the pixels that will come, and how uint8 pixels are normalized.
        dtype: "float32" or "int8"; "auto" is float32.
        device: Short name of an execution provider: "cpu", "cuda", "tensorrt", "rocm", "migraphx", "coreml", "dml",
            "openvino" or "webgpu", if the installed build has it; None is a GPU that comes up here, or the CPU.
        calibration: Images that int8 is fitted to; None draws some.
        least_cosine: What the mean cosine of int8 vectors to those of float32 has to reach.
        verify: Whether the vector of a known image is compared with that of float32 in torch, where it is loaded on
            another device than the CPU, or in another dtype than float32, once in a process.

    Raises:
        ConfigurationError: The device, the dtype or the size can't be had.
        CheckpointError: The weights are missing, damaged or of another model.
        BackendError: The exported graph gives other features than torch, int8 gives other vectors than float32, or
            ONNX Runtime came up on another device.
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

    It may be called from several threads. Pickled, it carries its settings, not the graph.

    Args:
        checkpoint: From `clip_image_encoder.checkpoint.open_checkpoint`.
        dtype: "float32" or "int8"; "auto" is float32.
        device: Name of an execution provider, as in `OnnxBackend`.
        least_cosine: What the mean cosine of int8 vectors to those of float32 has to reach.
        verify: Whether the vector of a known text is compared with that of float32 in torch, where it is loaded on
            another device than the CPU, or in another dtype than float32, once in a process.

    Raises:
        ConfigurationError: The device or the dtype can't be had.
        CheckpointError: The checkpoint has no text tower, or the weights are missing, damaged or of another model.
        BackendError: The exported graph gives other vectors than torch, or int8 other vectors than float32.
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
    """Return the dtype that a name means.

    Raises:
        ConfigurationError: ONNX Runtime has none of that name here.
    """
    if dtype not in _DTYPES:
        raise ConfigurationError(f"onnx has no dtype {dtype!r}; it has {', '.join(_DTYPES)}")
    return "float32" if dtype == "auto" else dtype


@without_telemetry()
def _quantize(file: Path, samples: Sequence[Inputs], plan: Plan, target: Path) -> None:
    import onnx

    fitted = fit(onnx.load(file), file, samples, plan)
    give_each_product_its_steps(fitted.graph)
    onnx.save(fitted, target, save_as_external_data=True, location=f"{target.name}.data")
