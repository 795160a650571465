"""Graphs on other devices and in other dtypes: one known image and one known text show whether they compute soundly."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_image_encoder import BackendError, ImageEncoder, TextEncoder
from clip_image_encoder.backends import _verification, find_backend, find_text_backend
from clip_image_encoder.backends._verification import Verification
from clip_image_encoder.backends.onnx import OnnxRuntime
from clip_image_encoder.backends.openvino import OpenVino

KINDS = {ImageEncoder: find_backend, TextEncoder: find_text_backend}
RUNTIMES: dict[str, Any] = {"onnx": OnnxRuntime, "openvino": OpenVino}


@pytest.fixture(autouse=True)
def _as_if_nothing_was_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_verification, "_passed", set())


@pytest.fixture
def wrong(runtime: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a runtime give the opposite of what it should, once its graphs are there."""
    for kind in KINDS:
        kind("tiny-shapes", backend=runtime, dtype="int8", device="cpu")
    monkeypatch.setattr(_verification, "_passed", set())
    opened = RUNTIMES[runtime].open

    def negated(self: Any, file: Path, device: str, *, patches: int | None, kept: Path | None) -> Any:
        run = opened(self, file, device, patches=patches, kept=kept)
        return lambda *inputs: -run(*inputs)

    monkeypatch.setattr(RUNTIMES[runtime], "open", negated)


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize("kind", KINDS)
def test_a_runtime_that_gives_wrong_numbers_is_an_error_with_both_figures(kind: Any, runtime: str) -> None:
    with pytest.raises(BackendError, match=r"expected one is -[01]\.\d+, and int8 has to reach 0\.[89]\d+"):
        kind("tiny-shapes", backend=runtime, dtype="int8", device="cpu")


@pytest.mark.usefixtures("wrong")
@pytest.mark.parametrize("kind", KINDS)
def test_the_comparison_can_be_left_out(kind: Any, runtime: str) -> None:
    load: Any = KINDS[kind](runtime)
    kind("tiny-shapes", backend=partial(load, verify=False), dtype="int8", device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_float32_on_another_device_than_the_cpu_is_compared_too(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # No GPU is here: the session is the CPU's, under another name.
    opened, compared = OnnxRuntime.open, []

    def elsewhere(self: OnnxRuntime, file: Path, device: str, *, patches: int | None, kept: Path | None) -> Any:
        return opened(self, file, "cpu", patches=patches, kept=kept)

    monkeypatch.setattr(OnnxRuntime, "open", elsewhere)
    monkeypatch.setattr(OnnxRuntime, "devices", ("cuda", "cpu"))
    monkeypatch.setattr(Verification, "check", lambda self, run: compared.append(run(*self.reference.inputs)))
    kind("tiny-shapes", backend="onnx")
    kind("tiny-shapes", backend="onnx", device="cpu")
    assert [features.shape for features in compared] == [(1, 64)]
    assert np.isfinite(compared[0]).all()
