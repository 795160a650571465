"""ClipProvider in real queries of Daft: columns of images and texts are embedded, and searched."""

from __future__ import annotations

import doctest
import logging
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import daft
import numpy as np
import pytest
from daft import col
from daft.functions import cosine_distance, decode_image, embed_image, embed_text
from PIL import Image

from clip_image_encoder import BackendError, ConfigurationError, ImageEncoder, ImageError, TextEncoder
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.integrations import daft as integration
from clip_image_encoder.integrations.daft import ClipProvider


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    """A session that knows the provider by its name."""
    with daft.session():
        daft.attach_provider(ClipProvider("tiny-shapes", device="cpu"))
        yield


@pytest.fixture
def frame(gallery: dict[str, Path]) -> Any:
    return daft.from_pydict({"name": list(gallery), "path": [str(file) for file in gallery.values()]})


def embedded(frame: Any, image: str | Any = "path", **options: Any) -> Any:
    image = col(image) if isinstance(image, str) else image
    return frame.with_column("embedding", embed_image(image, provider="clip-image-encoder", **options))


def nearest(frame: Any, query: Any) -> str:
    ranked = frame.join(query, how="cross").sort(cosine_distance(col("embedding"), col("query")))
    (name,) = ranked.limit(1).to_pydict()["name"]
    return str(name)


@pytest.mark.parametrize("wanted", ["a red circle", "a green heart", "a blue star"])
def test_a_text_finds_its_image(frame: Any, wanted: str) -> None:
    texts = daft.from_pydict({"text": [wanted]})
    query = texts.select(embed_text(col("text"), provider="clip-image-encoder").alias("query"))
    assert nearest(embedded(frame), query) == wanted


def test_an_image_finds_itself(frame: Any, gallery: dict[str, Path]) -> None:
    images = daft.from_pydict({"file": [gallery["a blue star"].read_bytes()]})
    query = images.select(embed_image(col("file"), provider="clip-image-encoder").alias("query"))
    assert nearest(embedded(frame), query) == "a blue star"


def test_the_vectors_are_the_encoders_in_the_order_of_the_rows(frame: Any, gallery: dict[str, Path]) -> None:
    found = embedded(frame)
    assert found.schema()["embedding"].dtype == daft.DataType.embedding(daft.DataType.float32(), 64)
    rows = found.to_pydict()
    assert rows["name"] == list(gallery)
    expected = ImageEncoder("tiny-shapes", device="cpu").encode(list(gallery.values()))
    np.testing.assert_allclose(np.stack(rows["embedding"]), expected, atol=1e-5)


def test_the_vectors_of_texts_are_the_encoders(gallery: dict[str, Path]) -> None:
    texts = daft.from_pydict({"text": [*gallery, None]})
    rows = texts.select(embed_text(col("text"), provider="clip-image-encoder").alias("vector")).to_pydict()["vector"]
    assert rows.pop() is None
    np.testing.assert_allclose(
        np.stack(rows), TextEncoder("tiny-shapes", device="cpu").encode(list(gallery)), atol=1e-5
    )


def test_the_content_of_files_gives_the_vectors_of_their_paths(frame: Any) -> None:
    by_path = embedded(frame).to_pydict()["embedding"]
    by_content = embedded(frame, col("path").download()).to_pydict()["embedding"]
    np.testing.assert_allclose(np.stack(by_content), np.stack(by_path), atol=1e-5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_daft_s_own_images_give_the_vectors_of_their_files(mode: str, tmp_path: Path) -> None:
    file = tmp_path / "thin.png"
    Image.linear_gradient("L").convert(mode).resize((300, 3)).save(
        file
    )  # an array (3, 300, n), as if its channels came first
    frame = daft.from_pydict({"path": [str(file)]})
    (by_path,) = embedded(frame).to_pydict()["embedding"]
    (decoded,) = embedded(frame, decode_image(col("path").download())).to_pydict()["embedding"]
    np.testing.assert_allclose(decoded, by_path, atol=1e-5)


@pytest.mark.parametrize("name", ["a star.png", "50%20off.png", "a#b?.png", "é.png"])
def test_files_that_daft_lists_itself_are_read_whatever_their_names(
    name: str, gallery: dict[str, Path], tmp_path: Path
) -> None:
    shutil.copy(gallery["a red star"], tmp_path / name)
    rows = embedded(daft.from_glob_path(f"{tmp_path}/*.png")).to_pydict()
    assert rows["path"] == [f"file://{tmp_path}/{name}"]
    assert rows["embedding"][0] is not None


def test_a_bad_image_ends_the_query_with_its_name(gallery: dict[str, Path], bad_file: Path) -> None:
    frame = daft.from_pydict({"path": [str(gallery["a red star"]), str(bad_file)]})
    with pytest.raises(ImageError, match=rf"^{bad_file}: not an image in a known format"):
        embedded(frame).collect()


def test_a_bad_image_that_is_logged_is_a_null_and_the_others_have_their_vectors(
    gallery: dict[str, Path], bad_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = [str(gallery["a red star"]), str(gallery["a blue star"])]
    paths = [good[0], str(bad_file), None, good[1]]
    with caplog.at_level(logging.WARNING, integration.__name__):
        first, bad, missing, last = embedded(daft.from_pydict({"path": paths}), on_error="log").to_pydict()["embedding"]
    assert (bad, missing) == (None, None)
    expected = ImageEncoder("tiny-shapes", device="cpu").encode(good)
    np.testing.assert_allclose([first, last], expected, atol=1e-5)
    (message,) = [record.getMessage() for record in caplog.records if record.name == integration.__name__]
    assert message.startswith(f"{bad_file}: not an image in a known format")


def test_a_bad_image_that_is_ignored_is_a_null_without_a_word(bad_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = embedded(daft.from_pydict({"path": [str(bad_file)]}), on_error="ignore").to_pydict()
    assert rows["embedding"] == [None]
    assert not [record for record in caplog.records if record.name == integration.__name__]


def test_a_model_that_fails_ends_the_query_even_where_bad_images_are_ignored(
    frame: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(TorchBackend, "__call__", fail)
    with pytest.raises(BackendError, match="the device is gone"):
        embedded(frame, on_error="ignore").collect()


@pytest.mark.parametrize(("size", "expected"), [({}, [9]), ({"batch_size": 4}, [4, 4, 1])])
def test_rows_share_forward_passes(size: dict[str, int], expected: list[int], frame: Any, passes: list[int]) -> None:
    embedded(frame, **size).collect()
    assert passes == expected


def test_daft_hands_over_many_batches_at_a_time(frame: Any) -> None:
    provider = ClipProvider("tiny-shapes", device="cpu", batch_size=4)
    assert provider.get_image_embedder().get_udf_options().batch_size == 1024
    assert provider.get_image_embedder(batch_size=2048).get_udf_options().batch_size == 2048


def test_a_query_is_planned_without_the_weights(frame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("clip_image_encoder.integrations._encoders.ImageEncoder")
    assert embedded(frame).schema()["embedding"].dtype == daft.DataType.embedding(daft.DataType.float32(), 64)


def test_queries_of_one_process_share_the_model(frame: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded(frame).collect()
    monkeypatch.delattr("clip_image_encoder.integrations._encoders.ImageEncoder")
    assert len(embedded(frame).collect()) == 9


def test_what_is_sent_to_other_machines_gives_the_same_vectors(gallery: dict[str, Path]) -> None:
    embedder = ClipProvider("tiny-shapes").get_image_embedder()
    file = str(gallery["a red star"])
    (expected,) = embedder.instantiate().embed_image([file])
    (vector,) = pickle.loads(pickle.dumps(embedder)).instantiate().embed_image([file])
    np.testing.assert_array_equal(vector, expected)


def test_a_query_may_name_another_model_such_as_an_exported_folder(exported: Path, frame: Any) -> None:
    daft.attach_provider(ClipProvider(), alias="another")
    with_model = frame.with_column("embedding", embed_image(col("path"), provider="another", model=str(exported)))
    texts = daft.from_pydict({"text": ["a green star"]})
    query = texts.select(embed_text(col("text"), provider="another", model=str(exported)).alias("query"))
    assert nearest(with_model, query) == "a green star"


def test_an_unknown_option_is_refused(frame: Any) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'on_eror'"):
        embedded(frame, on_eror="log")


@pytest.mark.parametrize("wrong", [0, 2.5, True, "5"])
def test_a_wrong_batch_size_is_refused_at_once(wrong: Any, frame: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        ClipProvider("tiny-shapes", batch_size=wrong)
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        embedded(frame, batch_size=wrong)


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
