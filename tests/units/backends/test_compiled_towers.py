"""torch.compile as an opt-in."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
from collections.abc import Iterator
from multiprocessing.queues import SimpleQueue
from typing import Any

import numpy as np
import pytest
import torch._inductor.config
from numpy.typing import NDArray

from clip_image_encoder.backends.torch import TorchBackend

from .conftest import Saved

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler here")


@pytest.fixture(scope="module")
def compiled(clip: Saved, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TorchBackend]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        # They would stay in the system's folder for temporary files, 150 MB for each installation of torch.
        patch.setattr(torch._inductor.config, "cpp_cache_precompile_headers", False)
        torch.set_num_threads(2)  # kernels are compiled for a number of threads, and in a fork there is one
        yield clip.backend(compile=True)
        torch.set_num_threads(1)


@needs_compiler
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_tower_gives_the_same_features(
    clip: Saved, compiled: TorchBackend, pixels: NDArray[np.uint8]
) -> None:
    expected = clip.backend()(pixels, output="pooled", device="cpu")
    for batch in (pixels, pixels[:2]):
        features = compiled(batch, output="pooled", device="cpu")
        np.testing.assert_allclose(features, expected[: len(batch)], atol=1e-5)


@needs_compiler
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", [1, 2, 3])
def test_another_batch_size_is_not_compiled_anew(
    compiled: TorchBackend, count: int, clip: Saved, pixels: NDArray[np.uint8]
) -> None:
    compiled(pixels, output="pooled", device="cpu")
    with torch.compiler.set_stance("fail_on_recompile"):
        features = compiled(pixels[:count], output="pooled", device="cpu")
    expected = clip.backend()(pixels[:count], output="pooled", device="cpu")
    np.testing.assert_allclose(features, expected, atol=1e-5)


@needs_compiler
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore")
def test_a_fork_does_without_what_was_compiled(compiled: TorchBackend, pixels: NDArray[np.uint8]) -> None:
    expected = compiled(pixels, output="pooled", device="cpu")
    fork = multiprocessing.get_context("fork")
    results: SimpleQueue[Any] = fork.SimpleQueue()

    def encode() -> None:
        # For another number of threads the compiler would begin anew, with processes that a fork doesn't have.
        with torch.compiler.set_stance("fail_on_recompile"):
            results.put(compiled(pixels, output="pooled", device="cpu"))

    child = fork.Process(target=encode)
    child.start()
    child.join(600)
    child.kill()
    assert child.exitcode == 0
    np.testing.assert_allclose(results.get(), expected, atol=1e-5)


def test_a_pickle_keeps_the_wish_to_compile(clip: Saved) -> None:
    assert pickle.loads(pickle.dumps(clip.backend(compile=True)))._vision.compile
