"""A runtime runs where it was told to, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnxruntime
import pytest

from clip_image_encoder import BackendError, ConfigurationError, ImageEncoder, TextEncoder
from clip_image_encoder.backends import _onnx_providers
from clip_image_encoder.backends.onnx import OnnxRuntime

Build = Callable[..., None]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Build:
    """Makes the installed ONNX Runtime one of another build, some of whose providers come up."""

    def make(*names: str, up: tuple[str, ...] = ()) -> None:
        session = onnxruntime.InferenceSession
        providers = [f"{name}ExecutionProvider" for name in names]

        class Session:
            """A session of the real one, on the CPU, that tells which providers it came up with."""

            def __init__(
                self,
                graph: Any,
                options: Any,
                *,
                providers: list[str],
                enable_fallback: int,
                disabled_optimizers: list[str],
            ) -> None:
                self._session = session(graph, options, providers=["CPUExecutionProvider"])
                came_up = [name for name in providers if name.removesuffix("ExecutionProvider") in (*up, "CPU")]
                self.get_providers = lambda: [*came_up, "CPUExecutionProvider"]
                self.run, self.get_inputs = self._session.run, self._session.get_inputs

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)

    return make


def test_onnx_without_a_device_computes_on_the_cpu_of_a_build_that_has_no_other() -> None:
    assert ImageEncoder("tiny-shapes", backend="onnx").backend.devices == ("cpu",)


@pytest.mark.parametrize(
    ("names", "up", "devices"),
    [
        (["Tensorrt", "CUDA", "CPU"], ("CUDA", "Tensorrt"), ("cuda", "cpu", "tensorrt")),
        (["Tensorrt", "CUDA", "CPU"], (), ("cpu", "cuda", "tensorrt")),
        (["CoreML", "Azure", "CPU"], ("CoreML", "Azure"), ("coreml", "cpu")),
        (["Azure", "CPU"], ("Azure",), ("cpu",)),
        (["OpenVINO", "Dml", "CPU"], ("Dml", "OpenVINO"), ("dml", "cpu", "openvino")),
        (["MIGraphX", "ROCM", "CPU"], ("ROCM", "MIGraphX"), ("rocm", "cpu", "migraphx")),
        (["WebGpu", "CPU"], ("WebGpu",), ("cpu", "webgpu")),
    ],
)
def test_onnx_takes_a_gpu_that_comes_up_or_the_cpu_and_the_others_by_name_only(
    build: Build, names: list[str], up: tuple[str, ...], devices: tuple[str, ...]
) -> None:
    build(*names, up=up)
    assert OnnxRuntime().devices == devices


def test_without_a_device_a_gpu_that_does_not_come_up_is_passed_over(build: Build) -> None:
    build("CUDA", "CPU")
    assert ImageEncoder("tiny-shapes", backend="onnx").encode([]).shape == (0, 64)


@pytest.mark.parametrize("kind", [ImageEncoder, TextEncoder])
def test_onnx_that_comes_up_on_another_device_than_was_asked_for_is_an_error(
    build: Build, kind: Callable[..., object]
) -> None:
    build("CUDA", "CPU")
    with pytest.raises(BackendError, match=r"can't run on 'cuda': it fell back to cpu\. It needs onnxruntime-gpu"):
        kind("tiny-shapes", backend="onnx", device="cuda")


def test_a_device_that_the_build_does_not_have_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"'cuda'.*cpu"):
        ImageEncoder("tiny-shapes", backend="onnx", device="cuda")


@pytest.mark.parametrize(("kind", "spins"), [(ImageEncoder, "0"), (TextEncoder, "1")])
def test_threads_spin_for_texts_and_leave_the_cores_to_the_loading_of_images(
    kind: Callable[..., object], spins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, found = onnxruntime.InferenceSession, []

    def noted(graph: Any, options: Any, **others: Any) -> Any:
        found.append(options.get_session_config_entry("session.intra_op.allow_spinning"))
        return session(graph, options, **others)

    kind("tiny-shapes", backend="onnx")  # makes the graph, with sessions of its own
    monkeypatch.setattr(onnxruntime, "InferenceSession", noted)
    kind("tiny-shapes", backend="onnx")
    assert found == [spins]


def test_the_model_that_providers_are_tried_with_is_a_sound_one() -> None:
    model = onnx.load_model_from_string(_onnx_providers._IDENTITY)
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Identity"]
