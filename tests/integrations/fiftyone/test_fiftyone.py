"""The page's function with FiftyOne and its own MongoDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fiftyone as fo
import fiftyone.brain as fob
import pytest

from clip_image_encoder import ImageEncoder, TextEncoder
from tests.integrations.pages import names_of

PAGE = names_of("integrations/fiftyone.md")


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder("tiny-shapes", device="cpu")


@pytest.fixture(scope="module")
def files(gallery: dict[str, Path], bad_file: Path) -> list[str]:
    return [*map(str, gallery.values()), str(bad_file)]


@pytest.fixture
def dataset() -> Iterator[Any]:
    dataset = fo.Dataset()
    yield dataset
    dataset.delete()


def test_a_text_and_an_image_find_their_image(
    dataset: Any, encoder: ImageEncoder, files: list[str], gallery: dict[str, Path]
) -> None:
    PAGE["add"](dataset, encoder, files)
    good = dataset.exists("embedding")
    fob.compute_similarity(good, embeddings="embedding", brain_key="clip", backend="sklearn", metric="cosine")
    for name in ("a red circle", "a green heart", "a blue star"):
        for query in (TextEncoder("tiny-shapes").encode(name), encoder.encode(gallery[name])):
            assert good.sort_by_similarity(query, k=1, brain_key="clip").first().filepath == str(gallery[name])


def test_a_bad_file_is_a_sample_with_its_error_and_no_vector(
    dataset: Any, encoder: ImageEncoder, files: list[str], bad_file: Path
) -> None:
    PAGE["add"](dataset, encoder, files)
    sample = dataset[str(bad_file)]
    assert "not an image" in sample["error"]
    assert sample["embedding"] is None
    assert len(dataset.exists("embedding")) == 9


def test_a_second_call_computes_only_what_is_missing(
    dataset: Any, encoder: ImageEncoder, files: list[str], passes: list[int]
) -> None:
    PAGE["add"](dataset, encoder, files[:4])
    PAGE["add"](dataset, encoder, files)
    PAGE["add"](dataset, encoder, files)
    assert passes == [4, 5]
