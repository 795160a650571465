"""Models in folders of sentence-transformers run in each runtime, a norm behind them included."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import clip_image_encoder
from clip_image_encoder import ImageEncoder
from tests.units.text.sentences import modules_json

BUNDLED = Path(clip_image_encoder.__file__).parent / "tiny_shapes" / "checkpoint"


@pytest.mark.parametrize("behind", [(), (("Normalize", "1_Normalize"),)], ids=["alone", "normalized"])
def test_a_clip_in_a_folder_below_gives_torchs_vectors(
    runtime: str, tmp_path: Path, behind: tuple[tuple[str, str], ...]
) -> None:
    shutil.copytree(BUNDLED, tmp_path / "0_CLIPModel")
    modules_json(tmp_path, ("CLIPModel", "0_CLIPModel"), *behind)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    encoders = [ImageEncoder(tmp_path, backend=name, device="cpu") for name in ("torch", runtime)]
    of_torch, of_runtime = (encoder.encode(images, normalize=False) for encoder in encoders)
    np.testing.assert_allclose(of_runtime, of_torch, rtol=0, atol=1e-4)
    assert bool(np.allclose(np.linalg.norm(of_runtime, axis=1), 1, atol=1e-4)) == bool(behind)
