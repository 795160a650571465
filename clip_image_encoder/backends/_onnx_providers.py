"""ONNX Runtime's execution providers: those of the installed build, and the ones of them that work on this machine."""

from __future__ import annotations

from pathlib import Path

from clip_image_encoder.backends._onnx_int8 import int8_options
from clip_image_encoder.backends._telemetry import without_telemetry
from clip_image_encoder.errors import BackendError

with without_telemetry():
    import onnxruntime

__all__ = ["devices", "open_session"]

_SUFFIX = "ExecutionProvider"

_BEST_FIRST = ("cuda", "rocm", "dml", "coreml", "cpu")
"""Devices that may be chosen if none is named, in this order. Others must be named, such as TensorRT, which builds an
engine for each batch size."""

_ELSEWHERE = "azure"
"""Name of the provider that sends its work to a service, and can't run a graph on this machine."""

_NEEDS = {
    "cuda": "onnxruntime-gpu, an NVIDIA driver, and CUDA and cuDNN of the versions that it was built for",
    "tensorrt": "onnxruntime-gpu, an NVIDIA driver, CUDA, cuDNN and TensorRT of the versions that it was built for",
    "rocm": "a build of onnxruntime for ROCm, and an AMD driver",
    "migraphx": "a build of onnxruntime for MIGraphX, and an AMD driver",
    "dml": "onnxruntime-directml, and a GPU with DirectX 12",
    "coreml": "macOS",
    "openvino": "onnxruntime-openvino",
    "webgpu": "a build of onnxruntime for WebGPU, and a GPU with Vulkan, Metal or DirectX 12",
}

# An ONNX model of one operator, Identity, on one number: onnx.helper.make_model, serialized.
_IDENTITY = (
    b'\x08\x08:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def devices() -> tuple[str, ...]:
    """Return the names of the providers: those that work here, the best first, then those that must be named."""
    names = set(_providers()) - {_ELSEWHERE}
    first = [name for name in _BEST_FIRST if name in names and (name == "cpu" or _works(name))]
    return (*first, *sorted(names - set(first)))


def open_session(
    graph: Path | bytes, device: str, *, spins: bool = False, int8: bool = False
) -> onnxruntime.InferenceSession:
    """Load a graph onto a device.

    Args:
        graph: Path of an ONNX file, or its content.
        device: Name of the device, one of `devices`.
        spins: Whether the session's threads spin while they wait for each other. That makes one short text a tenth
            faster, but takes the cores from other threads, such as those that decode images.
        int8: Whether the graph is an int8 one.

    Raises:
        BackendError: ONNX Runtime fell back to another device.
    """
    provider = _providers()[device]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spins else "0")
    # Threads stop spinning when a run ends.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    # The arena would keep the memory of the largest batch until the session ends, and is not faster.
    options.enable_cpu_mem_arena = False
    # 4 logs fatal errors only. A fallback, which is an error below, would be written to stderr otherwise.
    options.log_severity_level = 4
    left_out = int8_options(options) if int8 and device == "cpu" else []
    session = onnxruntime.InferenceSession(
        graph, options, providers=[provider], enable_fallback=0, disabled_optimizers=left_out
    )
    # The first provider runs all operators that it can; the CPU's comes after it and runs the others.
    found = session.get_providers()
    if found[:1] != [provider]:
        instead = ", ".join(map(_short, found))
        needs = f" It needs {_NEEDS[device]}." if device in _NEEDS else ""
        raise BackendError(f"onnxruntime can't run on {device!r}: it fell back to {instead}.{needs}")
    return session


def _providers() -> dict[str, str]:
    """Return the execution providers of this build: {device: provider}."""
    return {_short(name): name for name in onnxruntime.get_available_providers()}


def _short(provider: str) -> str:
    return provider.removesuffix(_SUFFIX).lower()


def _works(device: str) -> bool:
    try:
        open_session(_IDENTITY, device)
    except Exception:  # noqa: BLE001 - a provider without its driver raises exceptions of any class
        return False
    return True
