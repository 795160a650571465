"""What the tests of backends share: a saved checkpoint of each family, and images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.models import VisionTower
from clip_image_encoder.models._patches import take_bytes
from tests.units.one_thread import one_thread as one_thread

from .families import FAMILIES, IMAGE_SIZE, PIXEL_FORMAT, Family, scramble


@dataclass(frozen=True)
class Saved:
    """A model of transformers, and the folder that it saved itself to."""

    family: Family
    model: Any
    folder: Path

    def backend(self, **settings: Any) -> TorchBackend:
        """Load the folder with our own code."""
        default: dict[str, Any] = {"pixel_format": PIXEL_FORMAT, "device": "cpu"}
        return TorchBackend(open_checkpoint(self.folder), **default | settings)


def tower_of(saved: Saved, dtype: torch.dtype = torch.float32) -> VisionTower:
    """Return the vision tower of a saved model, as a backend loads it before it makes it quick."""
    checkpoint = open_checkpoint(saved.folder)
    tower = checkpoint.vision.load(checkpoint.weights(dtype))
    take_bytes(tower, PIXEL_FORMAT)
    return tower


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Saved]:
    """Saves a random model of the family with a name, to a folder of its own."""

    def save_family(name: str, *, seed: int = 0, **options: Any) -> Saved:
        family = next(family for family in FAMILIES if family.name == name)
        model = family.make()
        scramble(model, seed)
        folder = tmp_path_factory.mktemp(name)
        model.save_pretrained(folder, **options)
        return Saved(family=family, model=model, folder=folder)

    return save_family


@pytest.fixture(scope="session", params=[family.name for family in FAMILIES if family.tokens])
def each(request: pytest.FixtureRequest, save: Callable[..., Saved]) -> Saved:
    """Each family in turn that cuts images into patches; the folder is not to be changed."""
    return save(request.param)


@pytest.fixture(scope="session")
def clip(save: Callable[..., Saved]) -> Saved:
    """A whole CLIP, both towers; the folder is not to be changed."""
    return save("clip")


def noise() -> NDArray[np.uint8]:
    """Return five images of noise at the models' size."""
    return np.random.default_rng(0).integers(0, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """The same, for one test."""
    return noise()
