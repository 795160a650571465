"""What several folders of tests share: real photos and encoders."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from huggingface_hub import constants
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.backends import _calibration, _graph_runs
from clip_image_encoder.testing import ToyBackend

# Read by torch when it is loaded, here and in what tests start. By default its threads keep their cores while they wait
# for each other: on a busy machine small models took six times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Programs, what has a session of its own, and what only type checkers read.
collect_ignore = ["programs", "promises/beside_open_clip", "promises/decoders", "promises/typing"]


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty HF_HOME for all tests and the processes that they start: what one of them exports, another finds."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("home")
        patch.setattr(constants, "HF_HOME", str(folder))
        patch.setenv("HF_HOME", str(folder))
        yield folder


@pytest.fixture(scope="session", autouse=True)
def _one_exporter() -> Iterator[None]:
    """One process for all exports of this one, since each start of torch takes seconds."""
    with (
        # On models as small as these, more threads only wait for each other.
        ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), initializer=os.putenv, initargs=("OMP_NUM_THREADS", "1")
        ) as pool,
        pytest.MonkeyPatch.context() as patch,
    ):

        def run(job: Callable[[], Any], *, near: Path) -> Any:
            return pool.submit(job).result()

        for module in (_graph_runs, _calibration):
            patch.setattr(module, "run_apart", run)
        yield


@pytest.fixture(scope="session")
def photo_paths() -> list[Path]:
    """Two photos of 640x427 pixels: a temple and a flower."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    return [folder / "china.jpg", folder / "flower.jpg"]


@pytest.fixture(scope="session")
def photos(photo_paths: list[Path]) -> list[Image.Image]:
    """Eleven different images, cut out of the two photos."""
    pictures = []
    for path in photo_paths:
        with Image.open(path) as photo:
            pictures.append(photo.convert("RGB"))
            pictures += [photo.crop((left, 10, left + 300, 400)).convert("RGB") for left in (0, 80, 160, 240)]
    pictures.append(pictures[0].resize((90, 700)))
    return pictures


@pytest.fixture(scope="session")
def toy() -> ImageEncoder:
    """An encoder whose model takes no time."""
    return ImageEncoder(backend=ToyBackend())


@pytest.fixture
def noise() -> Image.Image:
    """An image in which every pixel is different."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))
