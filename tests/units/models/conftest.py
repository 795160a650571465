"""What the tests of model families share: folders that transformers itself saved, with all that it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from tests.units.backends.conftest import Saved as SavedTower
from tests.units.backends.conftest import save as save_vision
from tests.units.backends.families import IMAGE_SIZE, PATCH_SIZE
from tests.units.one_thread import one_thread as one_thread
from tests.units.text.conftest import Saved as SavedText
from tests.units.text.conftest import save as save_text

from .references import TEXT, VISION, Vision

__all__ = ["save_text", "save_vision", "save_without_defaults"]


@dataclass(frozen=True, kw_only=True)
class SavedVision:
    """A vision tower of transformers with its processor, and the folder that both saved themselves to."""

    model_type: str
    reference: Vision
    tower: SavedTower
    processor: Any

    @property
    def folder(self) -> Path:
        return self.tower.folder

    @property
    def checkpoint(self) -> Checkpoint:
        return open_checkpoint(self.folder)

    def tokens(self, pixels: Tensor) -> Tensor:
        """Return what transformers' own model makes of normalized pixels `(n, 3, H, W)`."""
        with torch.inference_mode():
            return self.reference.tokens(self.tower.model, pixels)

    def processed(self, image: Any) -> Tensor:
        """Return the pixels `(1, 3, H, W)` that transformers' own processor makes of an image."""
        pixels: Tensor = self.processor(images=image, return_tensors="pt")["pixel_values"]
        if pixels.ndim == 4:
            return pixels
        side = IMAGE_SIZE // PATCH_SIZE  # SigLIP 2's comes in patches
        grid = pixels.reshape(1, side, side, PATCH_SIZE, PATCH_SIZE, 3).permute(0, 5, 1, 3, 2, 4)
        return grid.reshape(1, 3, IMAGE_SIZE, IMAGE_SIZE)


def save_without_defaults(model: Any, folder: Path) -> None:
    """Save a model of transformers with a config that says nothing but what is no default."""
    model.save_pretrained(folder)
    file, defaults = folder / "config.json", type(model.config)().to_dict()
    file.write_text(json.dumps(_difference(json.loads(file.read_text()), defaults)))


def _difference(config: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _difference(value, defaults[key]) if isinstance(value, dict) and defaults.get(key) else value
        for key, value in config.items()
        if key == "model_type" or value != defaults.get(key)
    }


@pytest.fixture(scope="session", params=[(kind, name) for kind in VISION for name in VISION[kind].names], ids="-".join)
def vision(request: pytest.FixtureRequest, save_vision: Callable[..., SavedTower]) -> SavedVision:
    """Each tiny vision tower in turn; the folder is not to be changed."""
    model_type, name = request.param
    reference, tower = VISION[model_type], save_vision(name)
    # transformers 5 has two of each, of which this one needs no torchvision.
    kind = getattr(transformers, f"{reference.processor}Pil", None) or getattr(transformers, reference.processor)
    processor = kind(**reference.settings)
    processor.save_pretrained(tower.folder)
    return SavedVision(model_type=model_type, reference=reference, tower=tower, processor=processor)


@pytest.fixture(scope="session", params=list(TEXT))
def text(request: pytest.FixtureRequest, save_text: Callable[..., SavedText]) -> tuple[str, SavedText]:
    """Each `model_type` with a text tower in turn, and its tiny model; the folder is not to be changed."""
    model_type: str = request.param
    return model_type, save_text(TEXT[model_type].name)
