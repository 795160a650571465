"""Folders of vectors, as embed_folder writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from clip_image_encoder.arrays import Vectors, unit_rows
from clip_image_encoder.errors import CorruptImageError
from clip_image_encoder.parquet import EmbeddingFiles, embeddings_table

Store = Callable[..., Vectors]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Adds rows for these paths to a folder, and returns their vectors; paths with "bad" have failed."""

    def add(
        paths: Sequence[str], *, folder: str = "vectors.parquet", fingerprint: str = "abc", seed: int = 0
    ) -> Vectors:
        vectors = unit_rows(np.random.default_rng(seed).standard_normal((len(paths), 6), dtype=np.float32))
        failures = [CorruptImageError("cut short", source=path) if "bad" in path else None for path in paths]
        vectors[["bad" in path for path in paths]] = np.nan
        table = embeddings_table({"path": paths}, vectors, failures, fingerprint=fingerprint, model="m", space="s")
        EmbeddingFiles.at(tmp_path / folder).add(table, key="path")
        return vectors

    return add
