"""The same images in a folder, in tar files, in Parquet files and in a list."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend

Files: TypeAlias = dict[str, bytes]
Store: TypeAlias = Callable[[Mapping[str, bytes]], Path]


@pytest.fixture
def encoder() -> ImageEncoder:
    return ImageEncoder(backend=ToyBackend())


def images(count: int) -> Files:
    """Return different images by their names; the eighth is damaged."""
    generator = np.random.default_rng(0)
    files: Files = {}
    for number in range(count):
        file = io.BytesIO()
        kind = "JPEG" if number % 3 else "PNG"
        noise = generator.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(file, kind)
        files[f"{number:04d}.{'jpg' if number % 3 else 'png'}"] = file.getvalue()
    files[list(files)[7]] = b"broken"
    return files


def write_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def write_tar(place: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(place, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return place


def write_parquet(place: Path, files: Mapping[str, bytes], *, as_struct: bool = True, rows_a_group: int = 10) -> Path:
    column = [{"bytes": content, "path": None} for content in files.values()] if as_struct else list(files.values())
    table = pa.table({"image": column, "name": list(files), "label": list(range(len(files)))})
    pq.write_table(table, place, row_group_size=rows_a_group)
    return place
