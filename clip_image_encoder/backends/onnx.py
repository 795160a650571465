"""The vision tower in ONNX Runtime: float32 and int8, on the CPU and on whatever its build can run on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._devices import Devices
from clip_image_encoder.arrays import PixelFormat, Pixels
from clip_image_encoder.backends._calibration import Calibration, Quantizer
from clip_image_encoder.backends._graph import Graph, Run
from clip_image_encoder.backends._graph_backend import GraphBackend
from clip_image_encoder.backends._telemetry import without_telemetry
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError

with without_telemetry():
    import onnxruntime

__all__ = ["Calibration", "OnnxBackend", "OnnxRuntime", "devices", "load"]

_SUFFIX = "ExecutionProvider"
_DTYPES = ("auto", "float32", "int8")

_BEST_FIRST = ("cuda", "coreml", "cpu")
"""What is taken where no device is named; TensorRT, which builds an engine for each batch size, must be named."""

_ELSEWHERE = "azure"
"""Sends its work to a service, and runs nothing of a graph here."""


@dataclass(frozen=True, kw_only=True)
class OnnxRuntime:
    """ONNX Runtime; its devices are the execution providers of the build that is installed.

    Args:
        dtype: "float32", or "int8".
        calibration: pictures that int8 is fitted to; None draws some.
    """

    dtype: str = "float32"
    calibration: Calibration | None = None

    @property
    def devices(self) -> Sequence[str]:
        """Its execution providers: "cuda", "coreml" and "cpu", then those that must be named, such as "tensorrt"."""
        names = set(_providers()) - {_ELSEWHERE}
        return (*(name for name in _BEST_FIRST if name in names), *sorted(names - set(_BEST_FIRST)))

    @property
    def fingerprint(self) -> str:
        """Its settings; for int8 also the versions of what made the graph."""
        return f"{self}" if self.dtype != "int8" else f"{self}, {self._quantizer.versions}"

    def prepare(self, graph: Graph, file: Path) -> Path:
        """Return the graph's file, or that of its int8 form."""
        return self._quantizer.quantized(graph, file, self.calibration) if self.dtype == "int8" else file

    def open(self, file: Path, device: str) -> Run:
        """Load a graph.

        Raises:
            ConfigurationError: ONNX Runtime came up on another device.
        """
        provider = _providers()[device]
        options = onnxruntime.SessionOptions()
        # Threads that spin while they wait for work take the cores from those that decode pictures.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(file, options, providers=[provider], enable_fallback=0)
        if provider not in session.get_providers():
            raise ConfigurationError(
                f"onnxruntime can't run on {device!r}, it came up without it; install what it needs there, or choose "
                "another device, such as device='cpu'"
            )

        def run(pixels: Pixels) -> NDArray[np.float32]:
            features: NDArray[np.float32] = session.run(None, {"pixels": pixels})[0]
            return features

        return run

    def open_exactly(self, file: Path) -> Run:
        """Load a graph on the CPU."""
        return self.open(file, "cpu")

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
        device: Name of an execution provider in small letters, such as "cuda" or "tensorrt"; None is cuda,
            coreml or cpu, whichever the installed build has first.
        calibration: Images that int8 is fitted to; None draws some.

    Raises:
        ConfigurationError: The device, the dtype or the size can't be had.
        CheckpointError: The weights are missing, damaged or of another model.
        BackendError: The exported graph gives other features than torch, or int8 other vectors than float32.
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
    ) -> None:
        if dtype not in _DTYPES:
            raise ConfigurationError(f"onnx has no dtype {dtype!r}; it has {', '.join(_DTYPES)}")
        runtime = OnnxRuntime(dtype="float32" if dtype == "auto" else dtype, calibration=calibration)
        super().__init__(checkpoint, runtime, pixel_format=pixel_format, device=device)


load = OnnxBackend


def devices() -> tuple[str, ...]:
    """Return the execution providers of the installed build, the best first."""
    return tuple(OnnxRuntime().devices)


def _providers() -> dict[str, str]:
    """Return the execution providers of this build: {device: provider}."""
    return {name.removesuffix(_SUFFIX).lower(): name for name in onnxruntime.get_available_providers()}


@without_telemetry()
def _quantize(file: Path, batches: list[Pixels], target: Path) -> None:
    import nncf
    import onnx

    fitted = nncf.quantize(
        onnx.load(file),
        nncf.Dataset([{"pixels": pixels} for pixels in batches]),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
    )
    onnx.save(fitted, target, save_as_external_data=True, location=f"{target.name}.data")
