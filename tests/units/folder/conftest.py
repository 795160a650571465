"""Folders of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def gallery(tmp_path: Path) -> Callable[[int], Path]:
    """Makes a folder of different images, in two folders, with a hidden file that is none."""

    def make(count: int, size: tuple[int, int] = (40, 30)) -> Path:
        root = tmp_path / "gallery"
        generator = np.random.default_rng(0)
        for number in range(count):
            folder = root / ("first" if number % 2 else "second/deep")
            folder.mkdir(parents=True, exist_ok=True)
            noise = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(noise).save(
                folder / f"{number:04d}.{'JPG' if number % 3 else 'png'}", "JPEG" if number % 3 else "PNG"
            )
        (root / ".hidden").write_text("not a picture")
        return root

    return make
