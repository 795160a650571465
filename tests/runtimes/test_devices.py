"""A runtime runs where it was told to, or not at all."""

from __future__ import annotations

import onnxruntime
import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.backends.onnx import OnnxRuntime


def test_onnx_without_a_device_computes_on_the_cpu_of_a_build_that_has_no_other() -> None:
    assert ImageEncoder("tiny-shapes", backend="onnx").backend.devices == ("cpu",)


@pytest.mark.parametrize(
    ("build", "devices"),
    [
        (["Tensorrt", "CUDA", "CPU"], ("cuda", "cpu", "tensorrt")),
        (["CoreML", "Azure", "CPU"], ("coreml", "cpu")),
        (["OpenVINO", "Dml", "CPU"], ("cpu", "dml", "openvino")),
    ],
)
def test_onnx_takes_cuda_coreml_or_the_cpu_and_the_others_by_name_only(
    build: list[str], devices: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [f"{name}ExecutionProvider" for name in build])
    assert OnnxRuntime().devices == devices


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_onnx_that_comes_up_on_another_device_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # As a build for GPUs where CUDA is not installed.
    build = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: build)
    with pytest.raises(ConfigurationError, match=r"can't run on 'cuda'.*device='cpu'"):
        ImageEncoder("tiny-shapes", backend="onnx", device="cuda")
