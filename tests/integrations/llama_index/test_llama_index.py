"""ClipEmbedding in LlamaIndex's real indexes: filled, searched, kept and opened again."""

from __future__ import annotations

import asyncio
import base64
import doctest
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_index.core import StorageContext, VectorStoreIndex, load_index_from_storage
from llama_index.core.indices import MultiModalVectorStoreIndex
from llama_index.core.schema import ImageNode, TextNode

from clip_image_encoder import ImageEncoder, ImageError, TextEncoder
from clip_image_encoder.integrations import llama_index as integration
from clip_image_encoder.integrations.llama_index import ClipEmbedding


@pytest.fixture(scope="module")
def clip() -> ClipEmbedding:
    return ClipEmbedding(model="tiny-shapes")


def image_nodes(files: dict[str, Path]) -> list[Any]:
    """LlamaIndex leaves out nodes that have neither text nor metadata."""
    return [ImageNode(id_=name, image_path=str(file), metadata={"path": str(file)}) for name, file in files.items()]


@pytest.fixture(scope="module")
def index(clip: ClipEmbedding, gallery: dict[str, Path]) -> Any:
    return MultiModalVectorStoreIndex(image_nodes(gallery), embed_model=clip, image_embed_model=clip)


@pytest.mark.parametrize("wanted", ["a red circle", "a green heart", "a blue star"])
def test_a_text_finds_its_image(index: Any, wanted: str) -> None:
    (best,) = index.as_retriever(image_similarity_top_k=1).text_to_image_retrieve(wanted)
    assert best.node.node_id == wanted


def test_an_image_finds_itself(index: Any, gallery: dict[str, Path]) -> None:
    (best,) = index.as_retriever(image_similarity_top_k=1).image_to_image_retrieve(str(gallery["a blue star"]))
    assert best.node.node_id == "a blue star"
    assert best.score == pytest.approx(1, abs=1e-5)


def test_an_index_that_is_built_and_searched_asynchronously_finds_the_same(
    clip: ClipEmbedding, gallery: dict[str, Path]
) -> None:
    async def search() -> Any:
        nodes = image_nodes(gallery)
        index = MultiModalVectorStoreIndex(nodes, embed_model=clip, image_embed_model=clip, use_async=True)
        retriever = index.as_retriever(image_similarity_top_k=1)
        by_words = await retriever.aretrieve("a green star")
        by_image = await retriever.aimage_to_image_retrieve(str(gallery["a red heart"]))
        return [found.node.node_id for found in (*by_words, *by_image)]

    assert asyncio.run(search()) == ["a green star", "a red heart"]


def test_an_image_may_be_the_content_of_a_file_in_the_node(clip: ClipEmbedding, gallery: dict[str, Path]) -> None:
    nodes = [
        ImageNode(id_=name, image=base64.b64encode(file.read_bytes()).decode(), metadata={"name": name})
        for name, file in gallery.items()
    ]
    index = MultiModalVectorStoreIndex(nodes, embed_model=clip, image_embed_model=clip)
    (best,) = index.as_retriever(image_similarity_top_k=1).text_to_image_retrieve("a red heart")
    assert best.node.node_id == "a red heart"


def test_an_index_of_texts_is_searched_by_words(clip: ClipEmbedding, gallery: dict[str, Path]) -> None:
    index = VectorStoreIndex([TextNode(id_=name, text=name) for name in gallery], embed_model=clip)
    (best,) = index.as_retriever(similarity_top_k=1).retrieve("a red circle")
    assert best.node.node_id == "a red circle"


def test_an_index_that_is_kept_on_disk_is_searched_again(
    index: Any, clip: ClipEmbedding, gallery: dict[str, Path], tmp_path: Path
) -> None:
    index.storage_context.persist(tmp_path)
    context = StorageContext.from_defaults(persist_dir=str(tmp_path))
    opened = load_index_from_storage(context, embed_model=clip, image_embed_model=clip)
    (best,) = opened.as_retriever(image_similarity_top_k=1).text_to_image_retrieve("a green star")
    assert best.node.image_path == str(gallery["a green star"])


def test_all_methods_give_the_encoders_vectors_in_order(clip: ClipEmbedding, gallery: dict[str, Path]) -> None:
    files, names = [str(file) for file in gallery.values()], list(gallery)
    images, texts = ImageEncoder("tiny-shapes").encode(files), TextEncoder("tiny-shapes").encode(names)

    async def awaited() -> list[Any]:
        return [
            await clip.aget_image_embedding_batch(files),
            await clip.aget_text_embedding_batch(names),
            [await clip.aget_image_embedding(files[0])],
            [await clip.aget_text_embedding(names[0])],
            [await clip.aget_query_embedding(names[0])],
        ]

    called = [
        clip.get_image_embedding_batch(files),
        clip.get_text_embedding_batch(names),
        [clip.get_image_embedding(files[0])],
        [clip.get_text_embedding(names[0])],
        [clip.get_query_embedding(names[0])],
    ]
    for vectors, expected in zip(
        (*called, *asyncio.run(awaited())), 2 * (images, texts, images[:1], texts[:1], texts[:1]), strict=True
    ):
        np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_an_index_takes_one_forward_pass_for_a_batch_of_images(gallery: dict[str, Path], passes: list[int]) -> None:
    clip = ClipEmbedding(model="tiny-shapes", device="cpu")
    MultiModalVectorStoreIndex(image_nodes(gallery), embed_model=clip, image_embed_model=clip)
    assert passes == [9]


@pytest.mark.parametrize("size", [{"batch_size": 4}, {"embed_batch_size": 4}])
def test_a_batch_is_as_large_as_either_setting_allows(
    size: dict[str, int], gallery: dict[str, Path], passes: list[int]
) -> None:
    files = [str(file) for file in gallery.values()]
    ClipEmbedding(model="tiny-shapes", device="cpu", **size).get_image_embedding_batch(files)
    assert passes == [4, 4, 1]


def test_batches_that_are_awaited_together_load_the_model_once_on_the_event_loops_own_thread(
    gallery: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[threading.Thread] = []

    def load(model: str, **settings: Any) -> ImageEncoder:
        loads.append(threading.current_thread())
        return ImageEncoder(model, **settings)

    monkeypatch.setattr("clip_image_encoder.integrations._encoders.ImageEncoder", load)
    clip = ClipEmbedding(model="tiny-shapes", embed_batch_size=1)
    asyncio.run(clip.aget_image_embedding_batch([str(file) for file in gallery.values()]))
    assert loads == [threading.current_thread()]


def test_a_bad_image_stops_the_index_with_its_name(
    clip: ClipEmbedding, gallery: dict[str, Path], bad_file: Path
) -> None:
    nodes = image_nodes({"a red star": gallery["a red star"], "bad": bad_file})
    with pytest.raises(ImageError, match=r"image 1 .*bad\.png"):
        MultiModalVectorStoreIndex(nodes, embed_model=clip, image_embed_model=clip)


def test_its_json_gives_the_same_vectors_of_the_same_exported_folder(exported: Path, gallery: dict[str, Path]) -> None:
    clip = ClipEmbedding(model=str(exported), batch_size=4)
    restored = ClipEmbedding.from_json(clip.to_json())
    assert (restored.model_name, restored.batch_size) == (str(exported), 4)
    file = str(gallery["a red star"])
    assert restored.get_image_embedding(file) == clip.get_image_embedding(file)
    assert restored.get_query_embedding("a red star") == clip.get_query_embedding("a red star")


def test_a_pickle_keeps_the_settings(clip: ClipEmbedding) -> None:
    restored = pickle.loads(pickle.dumps(clip))
    assert restored.to_dict() == clip.to_dict()
    assert restored.get_query_embedding("a red star") == clip.get_query_embedding("a red star")


def test_the_model_may_have_llama_indexs_name_for_it() -> None:
    assert ClipEmbedding(model_name="tiny-shapes").model_name == "tiny-shapes"


@pytest.mark.parametrize("wrong", [{"modle": "tiny-shapes"}, {"model": "tiny-shapes", "model_name": "other"}])
def test_an_argument_that_would_be_ignored_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        ClipEmbedding(**wrong)


@pytest.mark.parametrize("wrong", [0, 2.0, True, "5"])
def test_a_wrong_batch_size_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        ClipEmbedding(model="tiny-shapes", batch_size=wrong)


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
