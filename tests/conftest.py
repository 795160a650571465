"""What several folders of tests share: real photos and encoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from huggingface_hub import constants
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend

# Programs with sessions of their own, and what only type checkers read.
collect_ignore = ["benchmarks", "beside_open_clip", "decoders", "fuzz", "processes", "slim", "soak", "typing"]


@pytest.fixture(scope="session", autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep references of towers, and graphs, out of the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.fixture(scope="session")
def photo_paths() -> list[Path]:
    """Two photos of 640x427 pixels: a temple and a flower."""
    folder = Path(sklearn.datasets.__file__).parent / "images"
    return [folder / "china.jpg", folder / "flower.jpg"]


@pytest.fixture(scope="session")
def photos(photo_paths: list[Path]) -> list[Image.Image]:
    """Eleven different pictures, cut out of the two photos."""
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
    """A picture in which every pixel is different."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8))
