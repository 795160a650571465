"""What the tests of exported graphs share: a cache of their own, a process that exports, and each runtime."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from clip_image_encoder.backends import _calibration, _graph_runs

# Before tests import the runtimes themselves, which would let these call their makers.
from clip_image_encoder.backends import onnx as onnx
from clip_image_encoder.backends import openvino as openvino


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty HF_HOME for all of them: what one test exports, another finds."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr(constants, "HF_HOME", str(folder))
        patch.setenv("HF_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _one_exporter() -> Iterator[None]:
    """One process for all exports of this one, since each start of torch takes seconds."""
    with (
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool,
        pytest.MonkeyPatch.context() as patch,
    ):

        def run(job: Callable[[], Any], *, near: Path) -> Any:
            return pool.submit(job).result()

        for module in (_graph_runs, _calibration):
            patch.setattr(module, "run_apart", run)
        yield


@pytest.fixture(scope="session", params=["onnx", "openvino"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Each runtime in turn."""
    name: str = request.param
    return name
