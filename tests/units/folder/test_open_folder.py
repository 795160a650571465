"""Folders are paths, URLs that pyarrow knows, or URLs that fsspec knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.folder import FolderSummary, embed_folder
from clip_image_encoder.parquet import EmbeddingFiles, embeddings_table, open_folder
from clip_image_encoder.testing import ToyBackend


@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_a_folder_is_written_and_resumed_by_its_path_or_its_url(
    gallery: Callable[[int], Path], tmp_path: Path, scheme: str
) -> None:
    root, encoder, destination = (
        gallery(6),
        ImageEncoder(backend=ToyBackend()),
        f"{scheme}{tmp_path}/vectors.parquet",
    )
    assert embed_folder(root, destination, encoder) == FolderSummary(embedded=6, failed=0, skipped=0)
    assert embed_folder(root, destination, encoder) == FolderSummary(embedded=0, failed=0, skipped=6)
    assert pq.read_table(tmp_path / "vectors.parquet").num_rows == 6


def test_a_file_system_of_fsspec_alone_keeps_vectors() -> None:
    files = EmbeddingFiles.at("memory://bucket/vectors.parquet")
    assert files.written("path", fingerprint="abc") == set()
    files.add(embeddings_table({"path": ["a"]}, np.ones((1, 2), np.float32), [None], fingerprint="abc"), key="path")
    assert EmbeddingFiles.at("memory://bucket/vectors.parquet").written("path", fingerprint="abc") == {"a"}


@pytest.mark.parametrize("url", ["nosuch://bucket/photos", "s3:///no-bucket"])
def test_a_url_that_nobody_opens_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="can't be opened"):
        open_folder(url)
