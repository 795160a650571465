"""What the tests of exported graphs share: each runtime."""

from __future__ import annotations

import pytest

# Before tests import the runtimes themselves, which would let these call their makers.
from clip_image_encoder.backends import onnx as onnx
from clip_image_encoder.backends import openvino as openvino


@pytest.fixture(scope="session", params=["onnx", "openvino"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Each runtime in turn."""
    name: str = request.param
    return name
