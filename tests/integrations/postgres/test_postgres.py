"""The page's functions with a PostgreSQL server of the test's own, which has pgvector."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pgserver
import psycopg
import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, TextEncoder
from tests.integrations.pages import names_of

PAGE = names_of("integrations/postgres.md")


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder("tiny-shapes", device="cpu")


@pytest.fixture(scope="module")
def server() -> Iterator[pgserver.PostgresServer]:
    # Not in pytest's folder: PostgreSQL runs as a user of its own where root starts it, and each run of pytest closes
    # that folder to other users, which ends the servers of runs beside it.
    with (
        TemporaryDirectory(prefix="postgres-") as folder,
        pgserver.get_server(folder, cleanup_mode="stop") as server,
    ):
        yield server


@pytest.fixture
def uri(server: pgserver.PostgresServer) -> str:
    """A database that is empty."""
    name = f"pictures_{uuid.uuid4().hex}"
    with psycopg.connect(server.get_uri(), autocommit=True) as db:
        db.execute(f"create database {name}")
    return str(server.get_uri(name))


@pytest.fixture
def db(uri: str, encoder: ImageEncoder) -> Iterator[Any]:
    with PAGE["open_table"](uri, encoder) as db:
        yield db


@pytest.fixture(scope="module")
def files(gallery: dict[str, Path], bad_file: Path) -> list[str]:
    return [*map(str, gallery.values()), str(bad_file)]


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("wanted", ["a red circle", "a blue star"])
def test_a_text_finds_its_image(
    db: Any, encoder: ImageEncoder, files: list[str], gallery: dict[str, Path], wanted: str, index: bool
) -> None:
    PAGE["add"](db, encoder, files)
    if index:
        db.execute("create index on pictures using hnsw (embedding vector_ip_ops)")
        db.execute("set enable_seqscan = off")
    assert PAGE["nearest"](db, TextEncoder("tiny-shapes").encode(wanted), 1) == [str(gallery[wanted])]


def test_an_image_finds_itself(db: Any, encoder: ImageEncoder, files: list[str], gallery: dict[str, Path]) -> None:
    PAGE["add"](db, encoder, files)
    file = str(gallery["a blue star"])
    assert PAGE["nearest"](db, encoder.encode(file))[0] == file


def test_a_bad_file_is_a_row_with_its_error_and_no_vector(
    db: Any, encoder: ImageEncoder, files: list[str], bad_file: Path
) -> None:
    PAGE["add"](db, encoder, files)
    ((path, error),) = db.execute("select path, error from pictures where embedding is null").fetchall()
    assert path == str(bad_file)
    assert "not an image" in error
    assert len(PAGE["nearest"](db, encoder.encode(files[0]), 20)) == 9


def test_a_second_call_computes_only_what_is_missing(
    db: Any, encoder: ImageEncoder, files: list[str], passes: list[int]
) -> None:
    PAGE["add"](db, encoder, files[:4])
    PAGE["add"](db, encoder, files)
    PAGE["add"](db, encoder, files)
    assert passes == [4, 5]


def test_vectors_of_another_encoder_are_refused(uri: str, db: Any) -> None:
    other = ImageEncoder("tiny-shapes", device="cpu", loader=ImageLoader(background=(0, 0, 0)))
    with pytest.raises(ConfigurationError, match="another encoder"):
        PAGE["open_table"](uri, other)
