"""The components in real pipelines of Haystack: documents are embedded, stored and found."""

from __future__ import annotations

import asyncio
import doctest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.converters.image import ImageFileToDocument
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.dataclasses import ByteStream
from haystack.document_stores.in_memory import InMemoryDocumentStore

from clip_image_encoder import ConfigurationError, ImageEncoder, TextEncoder
from clip_image_encoder.integrations import haystack as integration
from clip_image_encoder.integrations.haystack import ClipDocumentImageEmbedder, ClipTextEmbedder


def stored(files: Sequence[Path]) -> Any:
    """A document store, filled by a pipeline: files become documents, are embedded, are written."""
    store = InMemoryDocumentStore(embedding_similarity_function="cosine")
    pipeline = Pipeline()
    pipeline.add_component("files", ImageFileToDocument(store_full_path=True))
    pipeline.add_component("embedder", ClipDocumentImageEmbedder("tiny-shapes"))
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("files", "embedder")
    pipeline.connect("embedder", "writer")
    pipeline.run({"files": {"sources": list(files)}})
    return store


@pytest.fixture(scope="module")
def store(gallery: dict[str, Path]) -> Any:
    return stored(list(gallery.values()))


@pytest.fixture
def search(store: Any) -> Any:
    """A pipeline that finds the best image for a text."""
    pipeline = Pipeline()
    pipeline.add_component("embedder", ClipTextEmbedder("tiny-shapes"))
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


@pytest.mark.parametrize("wanted", ["a red circle", "a green heart", "a blue star"])
def test_a_text_finds_its_image(search: Any, gallery: dict[str, Path], wanted: str) -> None:
    (best,) = search.run({"embedder": {"text": wanted}})["retriever"]["documents"]
    assert best.meta["file_path"] == str(gallery[wanted])


def test_an_image_finds_itself(store: Any, gallery: dict[str, Path]) -> None:
    file = str(gallery["a blue star"])
    (query,) = ClipDocumentImageEmbedder("tiny-shapes").run([Document(meta={"file_path": file})])["documents"]
    (best,) = InMemoryEmbeddingRetriever(store, top_k=1).run(query_embedding=query.embedding)["documents"]
    assert best.meta["file_path"] == file
    assert best.score == pytest.approx(1, abs=1e-5)


def test_a_pipeline_that_is_awaited_finds_the_same(search: Any, gallery: dict[str, Path]) -> None:
    found = asyncio.run(search.run_async({"embedder": {"text": "a green star"}}))
    assert found["retriever"]["documents"][0].meta["file_path"] == str(gallery["a green star"])


def test_documents_are_embedded_when_they_are_awaited(gallery: dict[str, Path]) -> None:
    embedder, documents = ClipDocumentImageEmbedder("tiny-shapes"), [paths(gallery)[0]]
    assert asyncio.run(embedder.run_async(documents)) == embedder.run(documents)


def paths(gallery: dict[str, Path]) -> list[Any]:
    return [Document(meta={"file_path": str(file)}) for file in gallery.values()]


def test_the_vectors_are_the_encoders_in_order(gallery: dict[str, Path]) -> None:
    documents = ClipDocumentImageEmbedder("tiny-shapes").run(paths(gallery))["documents"]
    expected = ImageEncoder("tiny-shapes").encode(list(gallery.values()))
    np.testing.assert_allclose([document.embedding for document in documents], expected, atol=1e-5)
    vector = ClipTextEmbedder("tiny-shapes").run("a red star")["embedding"]
    np.testing.assert_allclose(vector, TextEncoder("tiny-shapes").encode("a red star"), atol=1e-5)


def test_the_content_of_a_file_gives_the_vector_of_its_path(gallery: dict[str, Path]) -> None:
    file = gallery["a blue star"]
    documents = [Document(blob=ByteStream(file.read_bytes())), Document(meta={"file_path": str(file)})]
    content, path = ClipDocumentImageEmbedder("tiny-shapes").run(documents)["documents"]
    np.testing.assert_allclose(content.embedding, path.embedding, atol=1e-5)


def test_paths_may_be_relative_and_have_another_name(gallery: dict[str, Path]) -> None:
    file = gallery["a red star"]
    embedder = ClipDocumentImageEmbedder("tiny-shapes", file_path_meta_field="path", root_path=str(file.parent))
    (document,) = embedder.run([Document(meta={"path": file.name})])["documents"]
    np.testing.assert_allclose(document.embedding, ImageEncoder("tiny-shapes").encode(file), atol=1e-5)


def test_the_documents_that_came_in_stay_as_they_were(gallery: dict[str, Path]) -> None:
    document = Document(content="a star", meta={"file_path": str(gallery["a red star"]), "album": 3})
    (embedded,) = ClipDocumentImageEmbedder("tiny-shapes").run([document])["documents"]
    assert document.embedding is None
    assert (embedded.id, embedded.content, embedded.meta) == (document.id, document.content, document.meta)


def test_a_bad_image_is_a_document_with_its_error_and_the_others_are_found(
    gallery: dict[str, Path], bad_file: Path
) -> None:
    store = stored([gallery["a red star"], bad_file, gallery["a blue star"]])
    (bad,) = store.filter_documents({"field": "meta.error", "operator": "!=", "value": None})
    assert bad.embedding is None
    assert bad.meta["error"].startswith(f"{bad_file}: not an image in a known format")
    vector = ClipTextEmbedder("tiny-shapes").run("a blue star")["embedding"]
    found = store.embedding_retrieval(vector, top_k=3)
    assert [Path(document.meta["file_path"]).name for document in found] == ["blue-star.jpg", "red-star.png"]


@pytest.mark.parametrize("meta", [{}, {"file_path": None}, {"file_path": 5}])
def test_a_document_without_an_image_says_so(meta: dict[str, Any]) -> None:
    (document,) = ClipDocumentImageEmbedder("tiny-shapes").run([Document(meta=meta)])["documents"]
    assert document.embedding is None
    assert document.meta["error"] == "it has no blob, and no path as 'file_path' in its metadata"


def test_a_path_is_never_taken_for_a_url() -> None:
    (document,) = ClipDocumentImageEmbedder("tiny-shapes").run([Document(meta={"file_path": "http://a/b.png"})])[
        "documents"
    ]
    assert document.meta["error"].endswith("no such file")


def test_a_file_that_is_mended_loses_its_error(gallery: dict[str, Path]) -> None:
    document = Document(meta={"file_path": str(gallery["a red star"]), "error": "no such file"})
    (embedded,) = ClipDocumentImageEmbedder("tiny-shapes").run([document])["documents"]
    assert embedded.embedding is not None
    assert "error" not in embedded.meta


@pytest.mark.parametrize(("size", "expected"), [(None, [9]), (4, [4, 4, 1])])
def test_documents_share_forward_passes(
    size: int | None, expected: list[int], gallery: dict[str, Path], passes: list[int]
) -> None:
    ClipDocumentImageEmbedder("tiny-shapes", device="cpu", batch_size=size).run(paths(gallery))
    assert passes == expected


def test_warming_up_loads_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts = ClipDocumentImageEmbedder("tiny-shapes"), ClipTextEmbedder("tiny-shapes")
    images.warm_up()
    texts.warm_up()
    for name in ("ImageEncoder", "TextEncoder"):
        monkeypatch.delattr(f"clip_image_encoder.integrations._encoders.{name}")
    assert images.run([])["documents"] == []
    assert len(texts.run("a red star")["embedding"]) == 64


def test_a_pipeline_of_an_exported_folder_is_stored_as_yaml_and_read_again(
    exported: Path, gallery: dict[str, Path]
) -> None:
    pipeline = Pipeline()
    folder = str(gallery["a red star"].parent)
    images = ClipDocumentImageEmbedder(exported, root_path=folder, file_path_meta_field="path", batch_size=4)
    pipeline.add_component("images", images)
    pipeline.add_component("texts", ClipTextEmbedder(exported))
    restored = Pipeline.loads(pipeline.dumps(), allowed_modules=["clip_image_encoder.*"])
    assert restored.to_dict() == pipeline.to_dict()
    inputs = {"images": {"documents": [Document(meta={"path": "red-star.png"})]}, "texts": {"text": "a red star"}}
    assert restored.run(inputs) == pipeline.run(inputs)


@pytest.mark.parametrize("wrong", [0, 2.5, True, "5"])
def test_a_wrong_batch_size_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        ClipDocumentImageEmbedder("tiny-shapes", batch_size=wrong)


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
