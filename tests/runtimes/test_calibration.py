"""int8 is fitted to pictures: the caller's own, or drawn ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clip_image_encoder.backends import find_backend
from clip_image_encoder.backends._calibration import Calibration
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.protocols import Backend

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def load(runtime: str) -> Any:
    half = (0.5, 0.5, 0.5)

    def load_int8(**settings: Any) -> Backend:
        return find_backend(runtime)(
            open_checkpoint("tiny-shapes"),
            image_size=(64, 64),
            mean=half,
            std=half,
            dtype="int8",
            device="cpu",
            **settings,
        )

    return load_int8


def test_other_pictures_give_other_ranges_and_another_fingerprint(load: Any) -> None:
    drawn, dark, noise = load(), load(calibration=Calibration(PIXELS // 8)), load(calibration=Calibration(PIXELS))
    features = [backend(PIXELS, output="pooled", device="cpu") for backend in (drawn, dark, noise)]
    assert not np.array_equal(features[0], features[1])
    assert not np.array_equal(features[1], features[2])
    assert len({backend.fingerprint for backend in (drawn, dark, noise)}) == 3


def test_the_same_pictures_give_the_same_fingerprint(load: Any) -> None:
    one, two = load(calibration=Calibration(PIXELS)), load(calibration=Calibration(PIXELS.copy()))
    assert one.fingerprint == two.fingerprint
