"""The executors called directly: which documents they take, and what becomes of these."""

from __future__ import annotations

import base64
import doctest
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from docarray import DocList
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import BackendError, CheckpointError, ConfigurationError, ImageEncoder, ImageError, TextEncoder
from clip_image_encoder.integrations import jina_yaml
from clip_image_encoder.integrations.jina import ClipChunk, ClipDocument, CLIPImageEncoder, CLIPTextEncoder

from .conftest import png

Pictures = list[NDArray[np.uint8]]


def images(**settings: Any) -> CLIPImageEncoder:
    return CLIPImageEncoder("tiny-shapes", **settings)


def texts(**settings: Any) -> CLIPTextEncoder:
    return CLIPTextEncoder("tiny-shapes", **settings)


def embeddings(docs: Iterable[ClipDocument]) -> NDArray[np.float32]:
    vectors: list[Any] = [doc.embedding for doc in docs]
    return np.stack(vectors)


def test_the_settings_reach_the_encoders() -> None:
    assert images(num_workers=3)._encoder.num_workers == 3
    for executor in (CLIPImageEncoder, CLIPTextEncoder):
        with pytest.raises(CheckpointError, match=r"not in the cache \(.*nowhere\)"):
            executor("no/model", cache_dir="nowhere", local_files_only=True)


def test_images_get_the_encoders_vectors(
    docs: DocList[ClipDocument], pictures: Pictures, encoder: ImageEncoder
) -> None:
    images().encode(docs)
    np.testing.assert_allclose(embeddings(docs), encoder.encode(pictures), atol=1e-6)


@pytest.mark.parametrize("field", ["tensor", "blob", "bytes_", "uri", "url", "data: URI"])
def test_an_image_may_be_in_any_field(field: str, pictures: Pictures, encoder: ImageEncoder, tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(png(pictures[0]))
    values = {
        "tensor": pictures[0],
        "blob": png(pictures[0]),
        "bytes_": png(pictures[0]),
        "uri": str(tmp_path / "picture.png"),
        "url": str(tmp_path / "picture.png"),
        "data: URI": "data:image/png;base64," + base64.b64encode(png(pictures[0])).decode(),
    }
    doc = ClipDocument(**{"uri" if field == "data: URI" else field: values[field]})
    images().encode(DocList[ClipDocument]([doc]))
    np.testing.assert_allclose(embeddings([doc])[0], encoder.encode(pictures[0]), atol=1e-6)


@pytest.mark.parametrize(("first", "second"), [("tensor", "blob"), ("blob", "bytes_"), ("bytes_", "uri")])
def test_of_several_fields_the_first_wins(
    first: str, second: str, pictures: Pictures, encoder: ImageEncoder, tmp_path: Path
) -> None:
    (tmp_path / "other.png").write_bytes(png(pictures[1]))
    mine = {"tensor": pictures[0], "blob": png(pictures[0]), "bytes_": png(pictures[0])}
    others = {"blob": png(pictures[1]), "bytes_": png(pictures[1]), "uri": str(tmp_path / "other.png")}
    doc = ClipDocument(**{first: mine[first], second: others[second]})
    images().encode(DocList[ClipDocument]([doc]))
    np.testing.assert_allclose(embeddings([doc])[0], encoder.encode(pictures[0]), atol=1e-6)


def test_documents_without_an_image_pass_untouched(pictures: Pictures) -> None:
    docs = DocList[ClipDocument]([ClipDocument(text="words"), ClipDocument(tensor=pictures[0]), ClipDocument()])
    images().encode(docs)
    assert [doc.embedding is None for doc in docs] == [True, False, True]
    assert docs[0].text == "words"
    assert docs[0].tags == {}


@pytest.mark.parametrize("make", [images, texts])
@pytest.mark.parametrize("empty", [None, DocList[ClipDocument]()])
def test_nothing_comes_of_nothing(make: Any, empty: DocList[ClipDocument] | None) -> None:
    assert not make().encode(empty)


def test_a_bad_image_gets_a_tag_and_the_others_their_embeddings(docs: DocList[ClipDocument]) -> None:
    docs[7] = ClipDocument(blob=b"not a picture", embedding=np.ones(64, np.float32))
    images().encode(docs, parameters={"batch_size": 3})
    assert docs[7].embedding is None
    assert "image 7" in docs[7].tags["error"]
    assert all(doc.tags == {} for place, doc in enumerate(docs) if place != 7)
    assert np.isfinite(np.stack([doc.embedding for place, doc in enumerate(docs) if place != 7])).all()


def test_a_bad_image_may_fail_the_request_by_its_name(docs: DocList[ClipDocument]) -> None:
    docs[7] = ClipDocument(blob=b"not a picture")
    with pytest.raises(ImageError, match=rf"document {docs[7].id}.*image 7"):
        images(on_error="raise").encode(docs)


def test_urls_are_refused_unless_they_are_allowed() -> None:
    docs = DocList[ClipDocument]([ClipDocument(url="https://127.0.0.1/cat.jpg")])
    images().encode(docs)
    assert "URLs are not enabled" in docs[0].tags["error"]
    images(allow_urls=True).encode(docs)
    assert "URLs are not enabled" not in docs[0].tags["error"]


@pytest.mark.parametrize(
    ("paths", "reached"),
    [
        ("@r", "r"),
        ("@c", "c"),
        ("@m", "m"),
        ("@r,c", "rc"),
        ("@r,@m", "rm"),
        ("r", "r"),
        (["r", "c"], "rc"),
        (("m",), "m"),
    ],
)
@pytest.mark.parametrize("spelling", ["access_paths", "traversal_paths"])
@pytest.mark.parametrize("where", ["request", "constructor"])
def test_access_paths(paths: Any, reached: str, spelling: str, where: str, pictures: Pictures) -> None:
    doc = ClipDocument(
        tensor=pictures[0],
        chunks=DocList[ClipChunk]([ClipChunk(tensor=pictures[1])]),
        matches=DocList[ClipChunk]([ClipChunk(tensor=pictures[2])]),
    )
    settings = {spelling: paths}
    executor = images(**settings) if where == "constructor" else images()
    executor.encode(DocList[ClipDocument]([doc]), parameters=settings if where == "request" else None)
    places = {"r": doc, "c": doc.chunks[0], "m": doc.matches[0]}
    assert "".join(name for name, place in places.items() if place.embedding is not None) == reached


def test_an_unknown_access_path_is_refused(docs: DocList[ClipDocument]) -> None:
    with pytest.raises(ConfigurationError, match="cc"):
        images().encode(docs, parameters={"access_paths": "@r,cc"})


def test_a_batch_size_may_come_as_a_float(
    docs: DocList[ClipDocument], encoder: ImageEncoder, pictures: Pictures
) -> None:
    images().encode(docs, parameters={"batch_size": 6.0})
    np.testing.assert_allclose(embeddings(docs), encoder.encode(pictures), atol=1e-6)


@pytest.mark.parametrize("where", ["request", "constructor"])
def test_embeddings_may_be_kept(docs: DocList[ClipDocument], where: str) -> None:
    mine = np.full(64, 0.5, np.float32)
    docs[3].embedding = mine
    settings = {"overwrite_embeddings": False}
    executor = images(**settings) if where == "constructor" else images()
    executor.encode(docs, parameters=settings if where == "request" else None)
    np.testing.assert_array_equal(docs[3].embedding, mine)
    assert not np.array_equal(docs[4].embedding, mine)


def test_the_models_own_numbers_may_be_had(
    docs: DocList[ClipDocument], encoder: ImageEncoder, pictures: Pictures
) -> None:
    images(normalize=False).encode(docs)
    np.testing.assert_allclose(embeddings(docs), encoder.encode(pictures, normalize=False), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalize", [True, False])
def test_preprocessed_tensors_are_taken_as_they_are(pictures: Pictures, encoder: ImageEncoder, normalize: bool) -> None:
    preprocess: Any = encoder.preprocess
    ready = [
        ((preprocess(encoder.loader(picture)) / 255 - preprocess.mean) / preprocess.std)
        .transpose(2, 0, 1)
        .astype(np.float32)
        for picture in pictures
    ]
    docs = DocList[ClipDocument]([ClipDocument(tensor=tensor) for tensor in ready])
    docs.append(ClipDocument(tensor=pictures[0]))
    images(use_default_preprocessing=False, normalize=normalize).encode(docs, parameters={"batch_size": 8})
    expected = encoder.encode(pictures, normalize=normalize)
    np.testing.assert_allclose(embeddings(docs[:-1]), expected, atol=1e-4)
    assert docs[-1].embedding is None
    assert "float32 (3, 64, 64)" in docs[-1].tags["error"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_preprocessed_tensor_that_is_not_finite_is_tagged_and_the_others_served(value: float) -> None:
    tensors = [np.zeros((3, 64, 64), np.float32) for _ in range(3)]
    tensors[1][0, 0, 0] = value
    docs = DocList[ClipDocument]([ClipDocument(tensor=tensor) for tensor in tensors])
    images(use_default_preprocessing=False).encode(docs, parameters={"batch_size": 2})
    assert [doc.embedding is None for doc in docs] == [False, True, False]
    assert "NaN or infinite numbers" in docs[1].tags["error"]
    assert "image 1" in docs[1].tags["error"]


@pytest.mark.parametrize("normalize", [True, False])
def test_a_model_that_gives_nan_for_preprocessed_tensors_fails_the_request(normalize: bool) -> None:
    # The numbers are finite, and too large for the model.
    docs = DocList[ClipDocument]([ClipDocument(tensor=np.full((3, 64, 64), 3e38, np.float32))])
    with pytest.raises(BackendError, match="NaN or infinity for image 0"):
        images(use_default_preprocessing=False, normalize=normalize).encode(docs)


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "5"])
@pytest.mark.parametrize("preprocessing", [True, False])
def test_a_batch_size_that_is_none_is_refused(size: Any, preprocessing: bool, docs: DocList[ClipDocument]) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        images(use_default_preprocessing=preprocessing).encode(docs, parameters={"batch_size": size})


@pytest.mark.parametrize("make", [images, texts])
def test_a_wrong_batch_size_is_refused_when_the_executor_starts(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        make(batch_size=2.5)


def test_the_preprocessing_of_another_checkpoint_may_be_taken(pictures: Pictures) -> None:
    executor = images(base_feature_extractor="tiny-shapes")
    docs = DocList[ClipDocument]([ClipDocument(tensor=pictures[0])])
    executor.encode(docs)
    assert docs[0].embedding.shape == (64,)


def test_texts_get_the_encoders_vectors() -> None:
    words = ["a red circle", "a blue star"]
    docs = DocList[ClipDocument]([ClipDocument(text=text) for text in words])
    docs.append(ClipDocument())
    texts(base_tokenizer_model="tiny-shapes").encode(docs, parameters={"batch_size": 1.0})
    np.testing.assert_allclose(embeddings(docs[:2]), TextEncoder("tiny-shapes").encode(words), atol=1e-6)
    assert docs[2].embedding is None


@pytest.mark.parametrize("make", [images, texts])
def test_a_backend_that_does_not_exist_is_refused(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="no backend 'onyx'"):
        make(backend="onyx")


@pytest.mark.parametrize("kind", [CLIPImageEncoder, CLIPTextEncoder])
@pytest.mark.parametrize("backend", [None, "torch"])
def test_a_saved_executor_has_the_backend_that_it_was_given(kind: Any, backend: str | None, tmp_path: Path) -> None:
    kind("tiny-shapes", backend=backend).save_config(str(tmp_path / "saved.yml"))
    assert yaml.safe_load((tmp_path / "saved.yml").read_text().partition("\n")[2])["with"]["backend"] == backend
    kind.load_config(str(tmp_path / "saved.yml"))


def test_long_texts_are_cut() -> None:
    docs = DocList[ClipDocument]([ClipDocument(text="a red circle"), ClipDocument(text="a red star")])
    texts(max_length=4).encode(docs)
    np.testing.assert_array_equal(docs[0].embedding, docs[1].embedding)


@pytest.mark.parametrize("on_error", ["nan", None])
def test_an_unknown_on_error_is_refused(on_error: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_error"):
        images(on_error=on_error)


def test_the_examples_of_the_module_run() -> None:
    results = doctest.testmod(jina_yaml)
    assert results.attempted > 0
    assert results.failed == 0


def test_images_on_the_executors_disk_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (80, 60), "red").save(tmp_path / "red.png")
    docs = DocList[ClipDocument]([ClipDocument(uri=str(tmp_path / "red.png")), ClipDocument(uri="missing.png")])
    images().encode(docs)
    assert docs[0].embedding.shape == (64,)
    assert "no such file" in docs[1].tags["error"]
