"""Large batches pass ONNX Runtime in parts on the CPU, and give the features of the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder
from clip_image_encoder.backends import _onnx_parts
from clip_image_encoder.backends._onnx_parts import split_batches
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.export import export

TOKENS = 400
"""Number of tokens in a part on two cores."""


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_onnx_parts, "available_cores", lambda: 2)


class Recorded:
    """A graph that returns the mean of each row of its inputs, and records how many rows each call had."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        self.rows.append(len(inputs[0]))
        means = [part.reshape(len(part), -1).mean(1, keepdims=True, dtype=np.float32) for part in inputs]
        features: NDArray[np.float32] = np.sum(means, axis=0)
        return features


@given(count=st.integers(1, 40), patches=st.integers(1, 1000))
def test_images_pass_in_parts_of_so_many_tokens_in_their_order(count: int, patches: int) -> None:
    images, run = np.arange(count * 12, dtype=np.uint8).reshape(count, 2, 2, 3), Recorded()
    features = split_batches(run, patches)(images)
    assert np.array_equal(features, Recorded()(images))
    assert max(run.rows) == min(count, max(1, TOKENS // patches))


@given(count=st.integers(1, 40), length=st.integers(1, 100))
def test_texts_pass_with_the_rows_of_their_masks(count: int, length: int) -> None:
    token_ids, run = np.arange(count * length).reshape(count, length), Recorded()
    features = split_batches(run, None)(token_ids, -token_ids)
    assert not features.any()
    assert max(run.rows) == min(count, max(1, TOKENS // length))


@pytest.fixture(params=["checkpoint", "exported folder"])
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> ImageEncoder:
    if request.param == "checkpoint":
        return ImageEncoder("tiny-shapes", backend="onnx", device="cpu")
    export("tiny-shapes", tmp_path / "made", texts=False)
    return ImageEncoder(tmp_path / "made", device="cpu")


def test_an_encoder_knows_how_many_tokens_an_image_has(encoder: ImageEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, run = [], onnxruntime.InferenceSession.run

    def record(self: Any, names: Any, inputs: dict[str, NDArray[np.uint8]]) -> Any:
        rows.append(len(inputs["pixels"]))
        return run(self, names, inputs)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", record)
    vision = open_checkpoint("tiny-shapes").vision
    encoder.encode(np.zeros((32, *vision.image_size, 3), np.uint8))
    assert max(rows) == TOKENS // vision.patches(vision.image_size) < 32
