"""Graphs on disk: made by one of many who ask, found again while they are whole, and made anew when they aren't."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from huggingface_hub import constants
from numpy.typing import NDArray

from clip_image_encoder import BackendError, ConfigurationError
from clip_image_encoder.backends import find_backend
from clip_image_encoder.backends._graph_store import find_or_make
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.preprocess import preprocess_of

Make = Callable[[Path], None]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of graphs of an empty HF_HOME."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    return tmp_path / "clip_image_encoder"


class Maker:
    """Fills folders, and counts them."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, folder: Path) -> None:
        self.made += 1
        (folder / "model").write_bytes(bytes(1000))
        (folder / "weights").mkdir()
        (folder / "weights" / "data").write_bytes(bytes(2000))


def test_what_was_made_is_found_again(store: Path) -> None:
    maker = Maker()
    assert find_or_make("a", maker) == find_or_make("a", maker)
    assert maker.made == 1


def test_another_key_is_another_folder(store: Path) -> None:
    maker = Maker()
    assert find_or_make("a", maker) != find_or_make("b", maker)


def test_threads_that_ask_at_once_share_one_making(store: Path) -> None:
    maker, together = Maker(), Barrier(4)

    def ask(_: int) -> Path:
        together.wait()
        return find_or_make("a", maker)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ask, range(4)))) == 1
    assert maker.made == 1


def cut(folder: Path) -> None:
    (folder / "weights" / "data").write_bytes(bytes(1999))


def empty_a_file(folder: Path) -> None:
    (folder / "model").write_bytes(b"")


def remove_a_file(folder: Path) -> None:
    (folder / "model").unlink()


def remove_all_files(folder: Path) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            file.unlink()


@pytest.mark.parametrize("harm", [cut, empty_a_file, remove_a_file, remove_all_files])
def test_what_is_not_whole_any_more_is_made_anew(store: Path, harm: Make) -> None:
    maker = Maker()
    folder = find_or_make("a", maker)
    harm(folder)
    assert find_or_make("a", maker) == folder
    assert maker.made == 2
    assert (folder / "model").stat().st_size == 1000
    assert (folder / "weights" / "data").stat().st_size == 2000


def test_a_making_that_fails_leaves_nothing(store: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "model").write_bytes(bytes(1000))
        raise BackendError("no")

    with pytest.raises(BackendError):
        find_or_make("a", fail)
    assert [path for path in store.iterdir() if path.is_dir()] == []


BEGIN = """
import time
from clip_image_encoder.backends._graph_store import find_or_make

def make(folder):
    (folder / "model").write_bytes(bytes(1000))
    print("begun", flush=True)
    time.sleep(600)

find_or_make({key!r}, make)
"""


def begin(key: str, store: Path) -> subprocess.Popen[str]:
    """Return another process that has begun to make what has a key."""
    program = f"import os; os.environ['HF_HOME'] = {str(store.parent)!r}\n{BEGIN.format(key=key)}"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


@pytest.mark.parametrize("key", ["a", "b"], ids=["its own", "another's"])
def test_what_a_killed_process_began_is_removed_when_the_next_one_makes(store: Path, key: str) -> None:
    with begin(key, store) as process:
        process.kill()
    assert len(list(store.glob("unfinished-*"))) == 1
    find_or_make("a", Maker())
    assert list(store.glob("unfinished-*")) == []


def test_what_a_living_process_makes_is_left_alone(store: Path) -> None:
    with begin("b", store) as process:
        find_or_make("a", Maker())
        assert len(list(store.glob("unfinished-*/made/model"))) == 1
        process.kill()


def test_a_cache_that_can_not_be_written_to_is_named(store: Path) -> None:
    store.write_text("not a folder")
    with pytest.raises(ConfigurationError, match="HF_HOME"):
        find_or_make("a", Maker())


def load(runtime: str) -> Any:
    checkpoint = open_checkpoint("tiny-shapes")
    pixel_format = preprocess_of(checkpoint.preprocessor_config).pixel_format
    return find_backend(runtime)(checkpoint, pixel_format=pixel_format, dtype="auto", device="cpu")


@pytest.fixture(scope="module")
def exported(cache: Path) -> Path:
    """The folder of a graph, in the home of all tests; not to be changed."""
    folder: Path = load("onnx").file.parent
    return folder


@pytest.fixture
def kept(exported: Path, store: Path) -> Path:
    """A copy of that folder as it is after a first start, which the encoders of this test find."""
    shutil.copytree(exported, store / exported.name, ignore=shutil.ignore_patterns("compiled*"))
    return store / exported.name


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)


def features(runtime: str) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] = load(runtime)(PIXELS, output="pooled", device="cpu")
    return vectors


def test_a_graph_whose_weights_were_cut_is_exported_anew(kept: Path) -> None:
    expected = features("onnx")
    file = kept / "model.onnx.data"
    file.write_bytes(file.read_bytes()[:-1000])
    np.testing.assert_array_equal(features("onnx"), expected)


def test_a_damaged_graph_of_the_right_size_is_named(runtime: str, kept: Path) -> None:
    file = kept / "model.onnx"
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(BackendError, match=f"delete {kept}"):
        load(runtime)


def test_openvino_keeps_one_compiled_form_that_the_next_start_reads(kept: Path) -> None:
    assert list(kept.rglob("*.blob")) == []
    load("openvino")
    (blob,) = kept.rglob("*.blob")
    before = blob.stat().st_mtime_ns
    load("openvino")
    assert [path.stat().st_mtime_ns for path in kept.rglob("*.blob")] == [before]


@pytest.mark.parametrize("harm", ["cut", "emptied", "overwritten"])
def test_openvino_compiles_anew_what_was_damaged(kept: Path, harm: str) -> None:
    expected = features("openvino")
    (blob,) = kept.rglob("*.blob")
    data = blob.read_bytes()
    blob.chmod(0o600)
    blob.write_bytes({"cut": data[:-1000], "emptied": b"", "overwritten": bytes(len(data))}[harm])
    np.testing.assert_array_equal(features("openvino"), expected)


def test_openvino_computes_where_no_compiled_form_can_be_written(kept: Path) -> None:
    expected = features("openvino")
    shutil.rmtree(kept / "compiled")
    (kept / "compiled").touch()  # a file where the folder should be: root may write anywhere
    np.testing.assert_array_equal(features("openvino"), expected)
