"""The page's functions with Milvus Lite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, TextEncoder
from tests.integrations.pages import names_of

PAGE = names_of("integrations/milvus.md")


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder("tiny-shapes", device="cpu")


@pytest.fixture
def client(encoder: ImageEncoder, tmp_path: Path) -> Iterator[MilvusClient]:
    client = MilvusClient(str(tmp_path / "pictures.db"))
    PAGE["open_collection"](client, encoder)
    yield client
    client.close()


@pytest.fixture(scope="module")
def files(gallery: dict[str, Path], bad_file: Path) -> list[str]:
    return [*map(str, gallery.values()), str(bad_file)]


def found(client: MilvusClient, vector: Any, most: int = 1) -> list[str]:
    (hits,) = client.search("pictures", data=[vector], limit=most, output_fields=["path"])
    return [hit["path"] for hit in hits]


@pytest.mark.parametrize("wanted", ["a red circle", "a green heart", "a blue star"])
def test_a_text_finds_its_image(
    client: MilvusClient, encoder: ImageEncoder, files: list[str], gallery: dict[str, Path], wanted: str
) -> None:
    PAGE["add"](client, encoder, files)
    assert found(client, TextEncoder("tiny-shapes").encode(wanted)) == [str(gallery[wanted])]


def test_an_image_finds_itself(
    client: MilvusClient, encoder: ImageEncoder, files: list[str], gallery: dict[str, Path]
) -> None:
    PAGE["add"](client, encoder, files)
    file = str(gallery["a blue star"])
    assert found(client, encoder.encode(file)) == [file]


def test_a_bad_file_is_named_and_has_no_row(
    client: MilvusClient, encoder: ImageEncoder, files: list[str], bad_file: Path
) -> None:
    errors = PAGE["add"](client, encoder, files)
    assert list(errors) == [str(bad_file)]
    assert "not an image" in errors[str(bad_file)]
    assert len(found(client, encoder.encode(files[0]), most=20)) == 9


def test_a_second_call_computes_only_what_is_missing(
    client: MilvusClient, encoder: ImageEncoder, files: list[str], passes: list[int]
) -> None:
    PAGE["add"](client, encoder, files[:4])
    PAGE["add"](client, encoder, files)
    PAGE["add"](client, encoder, files)
    assert passes == [4, 5]


def test_vectors_of_another_encoder_are_refused(client: MilvusClient) -> None:
    other = ImageEncoder("tiny-shapes", device="cpu", loader=ImageLoader(background=(0, 0, 0)))
    with pytest.raises(ConfigurationError, match="another encoder"):
        PAGE["open_collection"](client, other)
