"""torch.compile as an opt-in."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch._inductor.config
from numpy.typing import NDArray

from .conftest import Saved


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs a C++ compiler on the CPU")
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_tower_gives_the_same_features(
    clip: Saved, pixels: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    # They would stay in the system's folder for temporary files, 150 MB for each installation of torch.
    monkeypatch.setattr(torch._inductor.config, "cpp_cache_precompile_headers", False)
    expected = clip.backend()(pixels, output="pooled", device="cpu")
    compiled = clip.backend(compile=True)
    for batch in (pixels, pixels[:2]):
        features = compiled(batch, output="pooled", device="cpu")
        np.testing.assert_allclose(features, expected[: len(batch)], atol=1e-5)


def test_a_pickle_keeps_the_wish_to_compile(clip: Saved) -> None:
    assert pickle.loads(pickle.dumps(clip.backend(compile=True)))._compile
