"""Checkpoints, each written once, and the images and texts that are encoded."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import sklearn.datasets
import torch
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

from .folders import MODELS, save

_SHAPES = [(64, 64), (64, 96), (97, 64), (300, 400), (401, 300), (640, 427), (427, 641), (99, 500), (500, 98)]
_SHAPES += [(33, 31), (20, 21), (1000, 131)]


@dataclass(frozen=True)
class Saved:
    """A checkpoint and what open_clip makes of it.

    Attributes:
        folder: Where it lies.
        model: open_clip's model.
        transform: open_clip's transform for inference.
    """

    folder: Path
    model: Any
    transform: Any

    def pixels(self, images: list[Image.Image]) -> torch.Tensor:
        return torch.stack([self.transform(image) for image in images])

    def tokenizer(self) -> Callable[[list[str]], torch.Tensor]:
        made: Callable[[list[str]], torch.Tensor] = open_clip.get_tokenizer(f"local-dir:{self.folder}")
        return made

    def image_vectors(self, images: list[Image.Image]) -> NDArray[np.float32]:
        with torch.no_grad():
            given: torch.Tensor = self.model.encode_image(self.pixels(images), normalize=False)
        return given.numpy()

    def text_vectors(self, texts: list[str]) -> NDArray[np.float32]:
        with torch.no_grad():
            given: torch.Tensor = self.model.encode_text(self.tokenizer()(texts), normalize=False)
        return given.numpy()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Saved]:
    """Writes a checkpoint, when a test first asks for it."""

    @cache
    def write(name: str) -> Saved:
        folder = tmp_path_factory.mktemp(name) / "checkpoint"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = save(MODELS[name], folder)
            _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
        return Saved(folder, model, transform)

    return write


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    """Two photos, and drawings of twelve aspect ratios."""
    photos = Path(sklearn.datasets.__file__).parent / "images"
    made = [Image.open(photos / name).convert("RGB") for name in ("china.jpg", "flower.jpg")]
    noise = np.random.default_rng(0)
    for scene, shape in zip(random_scenes(len(_SHAPES), seed=3), _SHAPES, strict=True):
        drawn = np.asarray(draw(scene).resize(shape, Image.Resampling.BICUBIC), np.int16)
        grain = noise.integers(-30, 31, drawn.shape)
        made.append(Image.fromarray(np.clip(drawn + grain, 0, 255).astype(np.uint8)))
    return made
