"""The backend "openvino": vision and text towers in OpenVINO, in float32, bfloat16 or int8, on CPUs and Intel GPUs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from clip_image_encoder._arguments import check_number
from clip_image_encoder._devices import Devices
from clip_image_encoder._forks import in_forks, never_destroy
from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.backends._calibration import Calibration, Quantizer
from clip_image_encoder.backends._fitting import Plan, fit
from clip_image_encoder.backends._graph import Graph, Run
from clip_image_encoder.backends._graph_backend import GraphBackend
from clip_image_encoder.backends._graph_text import GraphTextBackend
from clip_image_encoder.backends._openvino_compiled import compiled_in
from clip_image_encoder.backends._openvino_int8 import in_float, products_are_exact
from clip_image_encoder.backends._quality import LEAST_COSINE
from clip_image_encoder.backends._samples import Inputs
from clip_image_encoder.backends._telemetry import without_telemetry
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import BackendError, ConfigurationError

with without_telemetry():
    import openvino

__all__ = ["Calibration", "OpenVino", "OpenVinoBackend", "OpenVinoTextBackend", "devices", "load", "load_text"]

_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


@dataclass(frozen=True, kw_only=True)
class OpenVino:
    """OpenVINO as a runtime of graphs.

    Args:
        dtype: Name of the dtype to compute in, "float32", "bfloat16" or "int8".
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
        """Names of OpenVINO's devices in lower case, such as "cpu" and "gpu.0", the CPU first."""
        return tuple(name.lower() for name in _CORE.get().available_devices)

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

    def open(self, file: Path, device: str, *, patches: int | None, kept: Path | None) -> Run:  # noqa: ARG002 - alike for all
        """Load a graph onto a device; its compiled form is stored in the folder `kept`.

        Raises:
            BackendError: This process was forked from one in which OpenVINO ran.
        """
        settings, core, name = _settings(_HINTS[self.dtype]), _CORE.get(), device.upper()
        if device != "cpu":
            return _runner(_compiled_by_openvino(core, file, name, settings, kept))
        model = self._model(file, keep_steps=False)
        make = partial(core.compile_model, model, name, settings)
        if kept is not None:
            form = file.name if isinstance(model, Path) else f"{file.name} in float"
            with suppress(OSError):  # a folder that can't be written to, or a full disk: each start compiles
                compiled = compiled_in(kept / "compiled", form, core, settings, make)
                return _runner(compiled.model, compiled.give_back)
        return _runner(make())

    def open_exactly(self, file: Path) -> Run:
        """Load a graph onto the CPU, without storing its compiled form: the graph may still be in a temporary folder.

        An int8 graph gives the vectors of a processor with VNNI on any processor, so that all choose the same plan.
        """
        return _runner(_CORE.get().compile_model(self._model(file, keep_steps=True), "CPU", _settings("f32")))

    def _model(self, file: Path, *, keep_steps: bool) -> Path | openvino.Model:
        """Return what the CPU runs of a graph: its file, or int8 as float32 where int8 products are not exact."""
        core = _CORE.get()
        if self.dtype != "int8" or products_are_exact(core):
            return file
        return in_float(core.read_model(file), keep_steps=keep_steps)

    @property
    def _quantizer(self) -> Quantizer:
        return Quantizer(
            runtime=f"openvino {openvino.__version__}",
            quantize=_quantize,
            open_exactly=self.open_exactly,
            name="int8.xml",
        )


class _Core:
    """The one `openvino.Core` of a process; making it takes milliseconds, since it loads a plugin for each device.

    A forked process does not have the core's threads, and may hang waiting for them, so it can't use the core.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._core: openvino.Core | None = None
        self._is_lost = False

    def get(self) -> openvino.Core:
        """Return the core, which the first call makes.

        Raises:
            BackendError: The core was made by the process from which this one was forked.
        """
        if self._is_lost:
            raise BackendError(
                "OpenVINO can't run in a process that was forked from one in which it ran; make the encoder in the "
                "forked process only, start processes with multiprocessing's 'spawn', or use backend='onnx'"
            )
        with self._lock:
            if self._core is None:
                in_forks(self, _Core._lose)
                self._core = openvino.Core()
            return self._core

    def _lose(self) -> None:
        self._is_lost = True
        never_destroy(self._core)


_CORE = _Core()


class OpenVinoBackend(GraphBackend):
    """Runs a checkpoint's vision tower in OpenVINO, as a graph that was exported once and is kept on disk.

    The first start exports the graph with torch, in a process of its own. Several threads may call the backend at
    once. A pickled backend contains its settings, not the graph.

    Args:
        checkpoint: Checkpoint to run, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        pixel_format: Size of the pixels that the backend will be given, and how it normalizes uint8 pixels.
        dtype: "float32", "bfloat16" or "int8"; "auto" means float32.
        device: Name of an OpenVINO device in lower case, such as "cpu" or "gpu.0"; None means the CPU.
        calibration: Images that an int8 graph is fitted to; None means 128 drawings.
        least_cosine: Smallest allowed mean cosine between the vectors of int8 and float32.
        verify: Whether the vector of a known image is compared with that of float32 in torch, once in a process for
            each device other than the CPU and each dtype other than float32.

    Raises:
        ConfigurationError: The device is not there, or the dtype or the size is not supported.
        CheckpointError: The weights are missing, damaged or of another model.
        BackendError: The features of the graph differ from those of torch, the vectors of int8 are too far from those
            of float32, or this process was forked from one in which OpenVINO ran.
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
        _CORE.get()
        runtime = OpenVino(dtype=_checked(dtype), calibration=calibration, least_cosine=least_cosine)
        super().__init__(checkpoint, runtime, pixel_format=pixel_format, device=device, verify=verify)


class OpenVinoTextBackend(GraphTextBackend):
    """Runs a checkpoint's text tower in OpenVINO, as a graph that was exported once and is kept on disk.

    The first start exports the graph with torch, in a process of its own. Several threads may call the backend at
    once. A pickled backend contains its settings, not the graph.

    Args:
        checkpoint: Checkpoint to run, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        dtype: "float32", "bfloat16" or "int8"; "auto" means float32.
        device: Name of an OpenVINO device in lower case, such as "cpu" or "gpu.0"; None means the CPU.
        least_cosine: Smallest allowed mean cosine between the vectors of int8 and float32.
        verify: Whether the vector of a known text is compared with that of float32 in torch, once in a process for
            each device other than the CPU and each dtype other than float32.

    Raises:
        ConfigurationError: The device is not there, or the dtype is not supported.
        CheckpointError: The checkpoint has no text tower, or the weights are missing, damaged or of another model.
        BackendError: The vectors of the graph differ from those of torch, the vectors of int8 are too far from those
            of float32, or this process was forked from one in which OpenVINO ran.
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
        _CORE.get()
        runtime = OpenVino(dtype=_checked(dtype), least_cosine=least_cosine)
        super().__init__(checkpoint, runtime, device=device, verify=verify)


RUNTIME = OpenVino
load = OpenVinoBackend
load_text = OpenVinoTextBackend


def _checked(dtype: str) -> str:
    """Return the name of a supported dtype, with "auto" resolved.

    Raises:
        ConfigurationError: The backend has no dtype of that name, or this processor has no instructions for it.
    """
    name = "float32" if dtype == "auto" else dtype
    if name not in _HINTS:
        raise ConfigurationError(f"openvino has no dtype {dtype!r}; it has auto, {', '.join(_HINTS)}")
    if name == "bfloat16" and "BF16" not in _CORE.get().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise ConfigurationError("this processor has no instructions for bfloat16; use dtype='float32' or 'int8'")
    return name


def devices() -> tuple[str, ...]:
    """Return the names of the devices that OpenVINO can run on here, the CPU first."""
    return tuple(OpenVino().devices)


def _settings(precision: str) -> dict[str, str]:
    return {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}


def _compiled_by_openvino(
    core: openvino.Core, file: Path, name: str, settings: dict[str, str], kept: Path | None
) -> openvino.CompiledModel:
    """Compile a graph for a device other than the CPU; OpenVINO stores the compiled form in the folder `kept`."""
    if kept is None or not os.access(kept, os.W_OK):
        return core.compile_model(file, name, settings)
    # Without a lock, OpenVINO reads a compiled model that another process is still writing.
    with FileLock(kept / "compiled.lock"):
        return core.compile_model(file, name, settings | {"CACHE_DIR": str(kept / "compiled")})


def _runner(compiled: openvino.CompiledModel, laid_out: Callable[[], None] | None = None) -> Run:
    """Return a function that runs a compiled graph.

    Args:
        compiled: Compiled graph.
        laid_out: Function that is called when a request has laid out the weights for itself; None calls nothing.
    """
    # A request has the memory of one inference, so each call that runs at the same time needs its own. They are not
    # stored in threading.local: a forked process destroys the values of threads that it doesn't have, and hangs.
    idle: list[openvino.InferRequest] = []

    def run(*inputs: NDArray[Any]) -> NDArray[np.float32]:
        try:
            request, is_new = idle.pop(), False
        except IndexError:
            request, is_new = compiled.create_infer_request(), True
        features: NDArray[np.float32] = request.infer(list(inputs), share_inputs=True)[0]
        if is_new and laid_out:
            laid_out()
        idle.append(request)
        return features

    return run


@without_telemetry()
def _quantize(file: Path, samples: Sequence[Inputs], plan: Plan, target: Path) -> None:
    fitted = fit(_CORE.get().read_model(file), file, samples, plan)
    openvino.save_model(fitted, target, compress_to_fp16=False)
