"""The page's functions with the client's local mode, and its points with the engine of Qdrant's server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, TextEncoder
from tests.integrations.pages import names_of

PAGE = names_of("integrations/qdrant.md")


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder("tiny-shapes", device="cpu")


@pytest.fixture(scope="module")
def files(gallery: dict[str, Path], bad_file: Path) -> list[str]:
    return [*map(str, gallery.values()), str(bad_file)]


@pytest.fixture
def client(encoder: ImageEncoder) -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    PAGE["open_collection"](client, encoder)
    yield client
    client.close()


@pytest.fixture
def filled(client: QdrantClient, encoder: ImageEncoder, files: list[str]) -> QdrantClient:
    PAGE["add"](client, encoder, files)
    return client


def found(client: QdrantClient, vector: Any) -> Any:
    (best,) = client.query_points("pictures", query=vector, limit=1).points
    return best.payload


@pytest.mark.parametrize("wanted", ["a red circle", "a green heart", "a blue star"])
def test_a_text_finds_its_image(filled: QdrantClient, gallery: dict[str, Path], wanted: str) -> None:
    assert found(filled, TextEncoder("tiny-shapes").encode(wanted)) == {"path": str(gallery[wanted])}


def test_an_image_finds_itself(filled: QdrantClient, encoder: ImageEncoder, gallery: dict[str, Path]) -> None:
    file = str(gallery["a blue star"])
    assert found(filled, encoder.encode(file)) == {"path": file}


def test_a_bad_file_is_a_point_with_its_error_and_no_vector(filled: QdrantClient, bad_file: Path) -> None:
    (point,) = filled.retrieve("pictures", [PAGE["point_id"](str(bad_file))], with_vectors=True)
    assert "not an image" in point.payload["error"]
    assert not point.vector
    assert filled.count("pictures").count == 10
    assert len(filled.query_points("pictures", query=np.ones(64), limit=20).points) == 9


def test_a_second_call_computes_only_what_is_missing(
    client: QdrantClient, encoder: ImageEncoder, files: list[str], passes: list[int]
) -> None:
    PAGE["add"](client, encoder, files[:4])
    PAGE["add"](client, encoder, files)
    PAGE["add"](client, encoder, files)
    assert passes == [4, 5]


def test_vectors_of_another_encoder_are_refused(client: QdrantClient) -> None:
    other = ImageEncoder("tiny-shapes", device="cpu", loader=ImageLoader(background=(0, 0, 0)))
    with pytest.raises(ConfigurationError, match="another encoder"):
        PAGE["open_collection"](client, other)


def test_the_engine_of_the_server_takes_the_points(
    encoder: ImageEncoder, files: list[str], gallery: dict[str, Path], tmp_path: Path
) -> None:
    config = edge.EdgeConfig(vectors=edge.EdgeVectorParams(size=encoder.dimension, distance=edge.Distance.Cosine))
    shard = edge.EdgeShard.create(str(tmp_path), config)
    points = [edge.Point(point.id, point.vector, point.payload) for point in PAGE["points"](encoder, files)]
    shard.update(edge.UpdateOperation.upsert_points(points))
    query = edge.Query.Nearest(TextEncoder("tiny-shapes").encode("a green star").tolist())
    found = shard.query(edge.QueryRequest(query=query, limit=20, with_payload=True))
    shard.close()
    assert found[0].payload == {"path": str(gallery["a green star"])}
    assert len(found) == 9  # the bad file has no vector
