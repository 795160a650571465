"""ClipEmbeddings in a real vector store of LangChain."""

from __future__ import annotations

import asyncio
import doctest
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_chroma import Chroma

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageError, TextEncoder
from clip_image_encoder.integrations import langchain as integration
from clip_image_encoder.integrations.langchain import ClipEmbeddings


@pytest.fixture(scope="module")
def embeddings() -> ClipEmbeddings:
    return ClipEmbeddings("tiny-shapes", batch_size=4)


@pytest.fixture(scope="module")
def store(embeddings: ClipEmbeddings, gallery: dict[str, Path]) -> Any:
    store = Chroma("langchain", embedding_function=embeddings)
    store.add_images([str(file) for file in gallery.values()], metadatas=[{"name": name} for name in gallery])
    return store


@pytest.mark.parametrize("wanted", ["a red circle", "a green heart", "a blue star"])
def test_a_text_finds_its_image(store: Any, wanted: str) -> None:
    (best,) = store.similarity_search(wanted, k=1)
    assert best.metadata["name"] == wanted


def test_an_image_finds_itself(store: Any, gallery: dict[str, Path]) -> None:
    (best,) = store.similarity_search_by_image(str(gallery["a blue star"]), k=1)
    assert best.metadata["name"] == "a blue star"


def test_the_vectors_are_the_encoders_in_order(embeddings: ClipEmbeddings, gallery: dict[str, Path]) -> None:
    files, names = list(gallery.values()), list(gallery)
    np.testing.assert_allclose(embeddings.embed_image(files), ImageEncoder("tiny-shapes").encode(files), atol=1e-5)
    np.testing.assert_allclose(embeddings.embed_documents(names), TextEncoder("tiny-shapes").encode(names), atol=1e-5)
    np.testing.assert_allclose(embeddings.embed_query(names[0]), embeddings.embed_documents(names)[0], atol=1e-5)


def test_images_of_an_exported_folder_are_found_by_words(exported: Path, gallery: dict[str, Path]) -> None:
    store = Chroma("exported", embedding_function=ClipEmbeddings(exported))
    store.add_images([str(file) for file in gallery.values()], metadatas=[{"name": name} for name in gallery])
    (best,) = store.similarity_search("a green star", k=1)
    assert best.metadata["name"] == "a green star"


def test_a_pickle_gives_the_vectors_of_the_same_exported_folder(exported: Path, gallery: dict[str, Path]) -> None:
    embeddings = ClipEmbeddings(exported)
    before = embeddings.embed_image([gallery["a red star"]]), embeddings.embed_query("a red star")
    restored = pickle.loads(pickle.dumps(embeddings))
    assert (restored.embed_image([gallery["a red star"]]), restored.embed_query("a red star")) == before


def test_encoders_may_be_given(gallery: dict[str, Path]) -> None:
    images, texts = ImageEncoder("tiny-shapes", num_workers=1), TextEncoder("tiny-shapes", max_length=3)
    embeddings = ClipEmbeddings(images, text_encoder=texts)
    file = gallery["a red star"]
    np.testing.assert_array_equal(np.array(embeddings.embed_image([file]), np.float32), images.encode([file]))
    np.testing.assert_array_equal(
        np.array(embeddings.embed_query("a red star"), np.float32), texts.encode("a red star")
    )


def test_an_encoder_of_images_alone_says_what_texts_need() -> None:
    with pytest.raises(ConfigurationError, match="pass text_encoder="):
        ClipEmbeddings(ImageEncoder("tiny-shapes")).embed_query("a red star")


def test_it_is_awaited_too(embeddings: ClipEmbeddings) -> None:
    assert asyncio.run(embeddings.aembed_query("a red circle")) == embeddings.embed_query("a red circle")


def test_a_bad_image_stops_the_call_with_its_name(
    embeddings: ClipEmbeddings, gallery: dict[str, Path], bad_file: Path
) -> None:
    with pytest.raises(ImageError, match=r"image 1 .*bad\.png"):
        embeddings.embed_image([gallery["a red star"], bad_file])


@pytest.mark.parametrize("wrong", [0, 2.5, True, "5"])
def test_a_wrong_batch_size_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        ClipEmbeddings("tiny-shapes", batch_size=wrong)


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
