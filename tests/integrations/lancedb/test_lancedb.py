"""Real LanceDB tables on disk: filled, searched, opened again elsewhere."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pytest
from lancedb.embeddings import EmbeddingFunctionConfig, get_registry
from lancedb.pydantic import LanceModel, Vector
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.integrations import lancedb as integration
from clip_image_encoder.integrations._encoders import Encoders
from clip_image_encoder.integrations.lancedb import ClipEmbeddings


@pytest.fixture
def table(gallery: dict[str, Path], tmp_path: Path) -> Any:
    """A table of the gallery's paths, embedded by LanceDB as they are added."""
    table = empty_table(tmp_path)
    table.add([{"path": str(file)} for file in gallery.values()])
    return table


def empty_table(folder: Path, *, model: str = "tiny-shapes", **settings: Any) -> Any:
    clip = get_registry().get("clip-image-encoder").create(model=model, batch_size=4, **settings)

    class Picture(LanceModel):  # type: ignore[misc]
        path: str = clip.SourceField()
        vector: Vector(clip.ndims()) | None = clip.VectorField(default=None)  # type: ignore[valid-type]

    return lancedb.connect(folder).create_table("pictures", schema=Picture)


@pytest.mark.parametrize("wanted", ["a red circle", "a green heart", "a blue star"])
def test_a_text_finds_its_image(table: Any, gallery: dict[str, Path], wanted: str) -> None:
    (best,) = table.search(wanted).limit(1).to_list()
    assert best["path"] == str(gallery[wanted])


@pytest.mark.parametrize("read", [Image.open, Path.read_bytes, Path])
def test_an_image_finds_itself(table: Any, gallery: dict[str, Path], read: Callable[[Path], Any]) -> None:
    file = gallery["a blue star"]
    (best,) = table.search(read(file), query_type="vector").limit(1).to_list()
    assert best["path"] == str(file)
    assert best["_distance"] < 1e-5


def test_the_vectors_are_the_encoders_in_the_order_of_the_rows(table: Any, gallery: dict[str, Path]) -> None:
    rows = table.to_arrow()
    assert rows["path"].to_pylist() == [str(file) for file in gallery.values()]
    expected = ImageEncoder("tiny-shapes").encode(list(gallery.values()))
    np.testing.assert_allclose(np.stack(rows["vector"].to_pylist()), expected, atol=1e-5)


def test_a_column_may_hold_the_files_themselves(gallery: dict[str, Path], tmp_path: Path) -> None:
    clip = ClipEmbeddings.create(model="tiny-shapes")
    config = EmbeddingFunctionConfig(vector_column="vector", source_column="file", function=clip)
    data = [{"name": name, "file": file.read_bytes()} for name, file in gallery.items()]
    table = lancedb.connect(tmp_path).create_table("files", data, embedding_functions=[config])
    (best,) = table.search("a red heart").limit(1).to_list()
    assert best["name"] == "a red heart"


def test_another_process_opens_the_table_with_the_same_model(table: Any, tmp_path: Path) -> None:
    program = (
        "import sys, lancedb, clip_image_encoder.integrations.lancedb\n"
        "table = lancedb.connect(sys.argv[1]).open_table('pictures')\n"
        "print(table.search('a green star').limit(1).to_list()[0]['path'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=False)
    assert done.stdout.strip().endswith("green-star.png"), done.stderr


@pytest.mark.parametrize("backend", [None, "torch"])
def test_a_table_stores_the_backend_as_it_was_given(
    backend: str | None, gallery: dict[str, Path], tmp_path: Path
) -> None:
    empty_table(tmp_path, backend=backend).add([{"path": str(gallery["a red star"])}])
    opened = lancedb.connect(tmp_path).open_table("pictures")
    assert opened.embedding_functions["vector"].function.backend == backend
    assert len(opened.search("a red star").to_list()) == 1


def test_a_table_stores_all_settings_but_the_loader_and_a_token(gallery: dict[str, Path], tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "device": "cpu",
        "num_workers": 2,
        "load_in": "processes",
        "cache_dir": "cache",
        "local_files_only": True,
        "normalize": False,
    }
    empty_table(tmp_path, **given)
    function = lancedb.connect(tmp_path).open_table("pictures").embedding_functions["vector"].function
    assert {name: getattr(function._encoders, name) for name in given} == given
    stored = set(function.model_dump()) - {"on_error", "max_retries"}
    assert stored == {each.name for each in fields(Encoders)} - {"loader", "token", "text_encoder"}


def test_images_of_an_exported_folder_are_found_by_words_when_the_table_is_opened_again(
    exported: Path, gallery: dict[str, Path], tmp_path: Path
) -> None:
    empty_table(tmp_path, model=str(exported)).add([{"path": str(file)} for file in gallery.values()])
    (best,) = lancedb.connect(tmp_path).open_table("pictures").search("a green star").limit(1).to_list()
    assert best["path"] == str(gallery["a green star"])


def test_a_bad_image_stops_the_call_at_once_and_nothing_of_it_is_added(
    gallery: dict[str, Path], bad_file: Path, tmp_path: Path
) -> None:
    table = empty_table(tmp_path)
    # Our error, as LanceDB hands it on.
    with pytest.raises(RuntimeError, match=r"image 1 .*bad\.png"):
        table.add([{"path": str(gallery["a red star"])}, {"path": str(bad_file)}])
    assert table.count_rows() == 0


@pytest.mark.parametrize(("policy", "rows", "vectors"), [("drop", 2, 2), ("null", 3, 2)])
def test_a_bad_image_may_be_left_to_lancedb(
    policy: Any, rows: int, vectors: int, gallery: dict[str, Path], bad_file: Path, tmp_path: Path
) -> None:
    table = empty_table(tmp_path, on_error="nan")
    files = [gallery["a red star"], bad_file, gallery["a blue heart"]]
    with pytest.warns(UserWarning, match=r"bad\.png"):
        table.add([{"path": str(file)} for file in files], on_bad_vectors=policy)
    column = table.to_arrow()["vector"]
    assert (len(column), len(column) - column.null_count) == (rows, vectors)


@pytest.mark.parametrize("wrong", [0, 2.0, True, "5"])
def test_a_wrong_batch_size_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ValueError, match="batch_size must be a positive integer"):
        ClipEmbeddings.create(model="tiny-shapes", batch_size=wrong)


def test_a_batch_size_of_numpy_is_stored_as_a_number() -> None:
    assert ClipEmbeddings.create(batch_size=np.int64(4)).batch_size == 4


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
