"""Real Chroma collections, in memory and on disk."""

from __future__ import annotations

import doctest
import inspect
import json
import subprocess
import sys
import uuid
from dataclasses import fields
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api.types import validate_embedding_function
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageError, ImageNotFoundError, TextEncoder
from clip_image_encoder.integrations import chroma as integration
from clip_image_encoder.integrations._encoders import Encoders
from clip_image_encoder.integrations.chroma import ClipEmbeddingFunction, UprightImages


@pytest.fixture(scope="module")
def function() -> ClipEmbeddingFunction:
    return ClipEmbeddingFunction("tiny-shapes", batch_size=4)


@pytest.fixture
def collection(function: ClipEmbeddingFunction, gallery: dict[str, Path]) -> Any:
    """A collection of the gallery's files, added as uris."""
    collection = empty_collection(function)
    collection.add(ids=list(gallery), uris=[str(file) for file in gallery.values()])
    return collection


def empty_collection(function: ClipEmbeddingFunction) -> Any:
    client = chromadb.EphemeralClient()
    return client.create_collection(f"c{uuid.uuid4().hex}", embedding_function=function, data_loader=UprightImages())


@pytest.mark.parametrize("wanted", ["a red circle", "a green heart", "a blue star"])
def test_a_text_finds_its_image(collection: Any, wanted: str) -> None:
    assert collection.query(query_texts=[wanted], n_results=1)["ids"] == [[wanted]]


def test_an_image_finds_itself(collection: Any, gallery: dict[str, Path]) -> None:
    image = np.asarray(Image.open(gallery["a green circle"]))
    found = collection.query(query_images=[image], n_results=1)
    assert found["ids"] == [["a green circle"]]
    assert found["distances"][0][0] < 1e-5


def test_the_vectors_are_the_encoders_in_the_order_of_the_files(
    function: ClipEmbeddingFunction, gallery: dict[str, Path]
) -> None:
    files = list(gallery.values())
    vectors = function(UprightImages()([str(file) for file in files]))
    np.testing.assert_allclose(vectors, ImageEncoder("tiny-shapes").encode(files), atol=1e-5)


def test_texts_and_images_of_one_collection_are_in_one_space(collection: Any) -> None:
    collection.add(ids=["words"], documents=["a red circle"])
    assert set(collection.query(query_texts=["a red circle"], n_results=2)["ids"][0]) == {"words", "a red circle"}


def test_chromas_validator_accepts_it(function: ClipEmbeddingFunction) -> None:
    validate_embedding_function(function)
    assert not function.is_legacy()
    assert function.default_space() == "cosine"
    assert set(function.supported_spaces()) == {"cosine", "l2", "ip"}


def test_all_settings_are_stored_but_for_the_loader_and_a_token(function: ClipEmbeddingFunction) -> None:
    config = json.loads(json.dumps(function.get_config()))
    left_out = {"loader", "token", "text_encoder"}
    assert set(config) == {each.name for each in fields(Encoders)} - left_out
    assert set(inspect.signature(ClipEmbeddingFunction).parameters) == set(config)


def test_settings_that_are_stored_are_those_of_the_encoders() -> None:
    given = {
        "num_workers": 2,
        "load_in": "processes",
        "cache_dir": "cache",
        "local_files_only": True,
        "batch_size": 3,
        "normalize": False,
    }
    stored = ClipEmbeddingFunction("tiny-shapes", **given).get_config()  # type: ignore[arg-type]
    encoders = ClipEmbeddingFunction.build_from_config(stored)._encoders
    assert {name: getattr(encoders, name) for name in given} == given


def test_a_collection_of_before_has_normalized_vectors(function: ClipEmbeddingFunction) -> None:
    old = {"model": "tiny-shapes", "revision": None, "backend": None, "device": None, "dtype": "auto"}
    function.validate_config_update(old, function.get_config())
    with pytest.raises(ConfigurationError, match="vectors of normalize True"):
        function.validate_config_update(old, function.get_config() | {"normalize": False})


def test_the_config_makes_the_same_function_again(function: ClipEmbeddingFunction) -> None:
    restored = ClipEmbeddingFunction.build_from_config(function.get_config())
    np.testing.assert_array_equal(restored(["a red circle"]), function(["a red circle"]))
    assert restored.get_config() == function.get_config()


@pytest.mark.parametrize("backend", [None, "torch"])
def test_a_collection_stores_the_backend_as_it_was_given(backend: str | None) -> None:
    client = chromadb.EphemeralClient()
    name = f"c{uuid.uuid4().hex}"
    client.create_collection(name, embedding_function=ClipEmbeddingFunction("tiny-shapes", backend=backend))
    stored = client.get_collection(name).configuration_json["embedding_function"]["config"]
    assert stored["backend"] == backend
    np.testing.assert_allclose(
        ClipEmbeddingFunction.build_from_config(stored)(["a red circle"]),
        TextEncoder("tiny-shapes").encode(["a red circle"]),
        atol=1e-5,
    )


def test_images_of_an_exported_folder_are_found_by_words_when_the_collection_is_opened_again(
    exported: Path, gallery: dict[str, Path], tmp_path: Path
) -> None:
    client = chromadb.PersistentClient(str(tmp_path))
    function = ClipEmbeddingFunction(str(exported))
    collection = client.create_collection("pictures", embedding_function=function, data_loader=UprightImages())
    collection.add(ids=list(gallery), uris=[str(file) for file in gallery.values()])
    opened = client.get_collection("pictures")
    assert opened.query(query_texts=["a green star"], n_results=1)["ids"] == [["a green star"]]


def test_a_setting_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="modle"):
        ClipEmbeddingFunction.validate_config({"modle": "tiny-shapes"})


def test_the_model_of_a_collection_may_not_change_but_its_device_may(function: ClipEmbeddingFunction) -> None:
    old = function.get_config()
    function.validate_config_update(old, old | {"device": "cpu", "batch_size": 8})
    with pytest.raises(ConfigurationError, match="tiny-shapes"):
        function.validate_config_update(old, old | {"model": "openai/clip-vit-base-patch32"})


def test_another_process_opens_the_collection_with_the_same_model(
    function: ClipEmbeddingFunction, gallery: dict[str, Path], tmp_path: Path
) -> None:
    client = chromadb.PersistentClient(str(tmp_path))
    collection = client.create_collection("pictures", embedding_function=function, data_loader=UprightImages())
    collection.add(ids=list(gallery), uris=[str(file) for file in gallery.values()])
    program = (
        "import sys, chromadb, clip_image_encoder.integrations.chroma\n"
        "collection = chromadb.PersistentClient(sys.argv[1]).get_collection('pictures')\n"
        "print(collection.query(query_texts=['a green star'], n_results=1)['ids'][0][0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "a green star", done.stderr


def test_a_bad_image_stops_the_call_and_nothing_of_it_is_added(
    function: ClipEmbeddingFunction, gallery: dict[str, Path], bad_file: Path
) -> None:
    collection = empty_collection(function)
    with pytest.raises(ImageError, match=r"image 1 .*bad\.png"):
        collection.add(ids=["good", "bad"], uris=[str(gallery["a red star"]), str(bad_file)])
    assert collection.count() == 0


def test_a_call_of_texts_and_images_is_refused(function: ClipEmbeddingFunction) -> None:
    with pytest.raises(ConfigurationError, match="make one call for each"):
        function(["a red circle", np.zeros((8, 8, 3), np.uint8)])


def test_an_image_of_three_rows_is_no_puzzle(function: ClipEmbeddingFunction) -> None:
    (vector,) = function([np.zeros((3, 64, 3), np.uint8)])
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_the_loader_keeps_what_has_no_uri_and_names_what_is_missing(gallery: dict[str, Path]) -> None:
    none, picture = UprightImages()([None, str(gallery["a blue star"])])
    assert none is None
    assert picture is not None
    assert picture.shape == (224, 224, 3)
    with pytest.raises(ImageNotFoundError, match="image 1"):
        UprightImages()([None, "missing.jpg"])


@pytest.mark.parametrize("wrong", [0, 2.5, True, "5"])
def test_wrong_numbers_are_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        ClipEmbeddingFunction("tiny-shapes", batch_size=wrong)
    with pytest.raises(ConfigurationError, match="num_workers must be a positive integer"):
        UprightImages(num_workers=wrong)


def test_a_batch_size_of_numpy_is_stored_as_a_number() -> None:
    four: Any = np.int64(4)
    assert json.dumps(ClipEmbeddingFunction("tiny-shapes", batch_size=four).get_config()["batch_size"]) == "4"


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
