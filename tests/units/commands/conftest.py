"""A folder of drawings and its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest

from clip_image_encoder import ImageEncoder
from clip_image_encoder.folder import embed_folder
from clip_image_encoder.tiny_shapes.draw import Scene, draw

HOSTILE = '"><img src=x onerror=alert(1)>#?%20&amp;.png'


@dataclass(frozen=True)
class Gallery:
    """A folder of images, and the folder of their vectors."""

    photos: Path
    vectors: Path


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Gallery:
    """Drawings in two folders, one of them twice, one with a hostile name, and a file that is no image."""
    root = tmp_path_factory.mktemp("gallery")
    photos = root / "photos"
    for color, shape in product(("red", "green", "blue"), ("circle", "star", "heart")):
        (photos / shape).mkdir(parents=True, exist_ok=True)
        draw(Scene(color=color, shape=shape)).save(photos / shape / f"{color}.png")
    draw(Scene(color="red", shape="star")).save(photos / "copy of a red star.png")
    draw(Scene(color="red", shape="circle")).save(photos / HOSTILE)
    (photos / "bad.png").write_bytes(b"no image")
    embed_folder(photos, root / "vectors.parquet", ImageEncoder("tiny-shapes"))
    return Gallery(photos, root / "vectors.parquet")
