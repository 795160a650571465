"""Encoders in processes that are forked from one that has computed already, as some servers do."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from typing import Any

import numpy as np
import pytest

from clip_image_encoder import ImageEncoder, TextEncoder

pytestmark = pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")

PICTURES = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
ENCODE: dict[str, Callable[[], Any]] = {
    "torch": lambda: ImageEncoder("tiny-shapes", device="cpu"),
    "onnx": lambda: ImageEncoder("tiny-shapes", backend="onnx"),
    "openvino": lambda: ImageEncoder("tiny-shapes", backend="openvino"),
    "text": lambda: TextEncoder("tiny-shapes", device="cpu"),
}


def encoded_in_a_fork(encoder: Any, items: Any, *, anew: bool) -> Any:
    fork = multiprocessing.get_context("fork")
    results: SimpleQueue[Any] = fork.SimpleQueue()

    def run() -> None:
        results.put((pickle.loads(pickle.dumps(encoder)) if anew else encoder).encode(items))

    process = fork.Process(target=run)
    process.start()
    process.join(60)
    if process.is_alive():
        process.kill()
        pytest.fail("the forked process hangs")
    assert process.exitcode == 0
    return results.get()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("anew", [False, True], ids=["the same encoder", "loaded anew"])
@pytest.mark.parametrize("kind", ENCODE)
def test_a_fork_gives_the_same_vectors(kind: str, anew: bool) -> None:
    encoder = ENCODE[kind]()
    items: Any = ["a red circle", "a blue star"] if kind == "text" else PICTURES
    expected = encoder.encode(items)
    np.testing.assert_allclose(encoded_in_a_fork(encoder, items, anew=anew), expected, atol=1e-5)
