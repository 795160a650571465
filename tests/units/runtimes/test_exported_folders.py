"""Exported folders: the vectors of the checkpoint that they were made of, without its weights and without torch."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clip_image_encoder import (
    BackendError,
    CheckpointError,
    ClipPreprocess,
    ConfigurationError,
    ImageEncoder,
    TextEncoder,
)
from clip_image_encoder.backends import ExportedBackend, ExportedTextBackend
from clip_image_encoder.backends.onnx import OnnxRuntime
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.export import export
from clip_image_encoder.testing import check_text_backend
from tests.units.checkpoint.conftest import hub as hub
from tests.units.checkpoint.conftest import save_vit as save_vit
from tests.units.checkpoint.conftest import saved as saved
from tests.units.checkpoint.fake_hub import FakeHub
from tests.units.checkpoint.open_clip_files import save as save_open_clip
from tests.units.text.conftest import Saved
from tests.units.text.conftest import save as save

CONFIG = "clip_image_encoder.json"
TEXTS = ["a red circle", "A Blue star!", "", "the red star on the blue circle " * 9]
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 80, 100, 3), dtype=np.uint8)
COSINES = {"float32": 0.99999, "bfloat16": 0.999, "int8": 0.99}


def cosines(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float32]:
    product: NDArray[np.float32] = (one * two).sum(axis=1)
    return product


def change(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported folder for ONNX Runtime; not to be changed."""
    folder = tmp_path_factory.mktemp("exported") / "tiny-shapes"
    export("tiny-shapes", folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the folder, for a test to damage."""
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    return copy


@pytest.mark.parametrize("dtype", COSINES)
def test_images_and_texts_have_the_vectors_of_the_checkpoint(runtime: str, dtype: str, tmp_path: Path) -> None:
    try:
        export("tiny-shapes", tmp_path / "made", backend=runtime, dtype=dtype)
    except ConfigurationError as error:  # ONNX Runtime has none, and some processors neither
        assert dtype == "bfloat16"
        pytest.skip(str(error))
    for kind, inputs in ((ImageEncoder, IMAGES), (TextEncoder, TEXTS)):
        expected = kind("tiny-shapes", device="cpu").encode(inputs)
        assert cosines(kind(tmp_path / "made").encode(inputs), expected).mean() > COSINES[dtype]


@pytest.mark.parametrize("name", ["siglip", "chinese_clip", "metaclip2"])
def test_other_families_texts_are_prepared_alike(save: Callable[[str], Saved], name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(save(name).folder, source)
    (source / "preprocessor_config.json").write_text('{"size": {"height": 16, "width": 16}, "do_center_crop": false}')
    export(source, tmp_path / "made")
    expected = TextEncoder(source, device="cpu")
    np.testing.assert_allclose(TextEncoder(tmp_path / "made").encode(TEXTS), expected.encode(TEXTS), atol=1e-5)


def test_open_clips_preprocessing_and_cleaning_go_along(tmp_path: Path) -> None:
    save_open_clip(tmp_path / "source")
    export(tmp_path / "source", tmp_path / "made")
    texts = [*TEXTS, "caf\u00c3\u00a9 &amp; more"]
    for kind, inputs in ((ImageEncoder, IMAGES), (TextEncoder, texts)):
        expected = kind(tmp_path / "source", device="cpu").encode(inputs)
        np.testing.assert_allclose(kind(tmp_path / "made").encode(inputs), expected, atol=1e-5)


def test_its_vectors_are_in_the_space_of_the_model_that_it_was_made_from(made: Path) -> None:
    space = ImageEncoder("tiny-shapes").space
    assert (ImageEncoder(made).space, TextEncoder(made).space) == (space, space)


def test_what_a_cosine_means_goes_along(made: Path) -> None:
    exported, original = TextEncoder(made), TextEncoder("tiny-shapes", device="cpu")
    assert exported.logit_scale == original.logit_scale
    images = ImageEncoder(made).encode(IMAGES)
    likely = [encoder.probabilities(images, encoder.encode(TEXTS)) for encoder in (exported, original)]
    np.testing.assert_allclose(likely[0], likely[1], atol=1e-4)


def test_the_text_tower_keeps_the_contract_of_text_backends(made: Path) -> None:
    check_text_backend(TextEncoder(made).backend)


def test_it_runs_where_neither_torch_nor_the_checkpoints_packages_can_be_imported(made: Path) -> None:
    program = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'safetensors', 'scipy', 'sklearn', 'onnx', 'nncf'):\n"
        "    sys.modules[name] = None\n"
        "import numpy as np\n"
        "from clip_image_encoder import ImageEncoder, TextEncoder\n"
        "images, texts = ImageEncoder(sys.argv[1]), TextEncoder(sys.argv[1])\n"
        "vectors = images.encode([np.zeros((9, 9, 3), np.uint8)])\n"
        "print(texts.probabilities(vectors, texts.encode(['a', 'b'])).shape, len(images.fingerprint))\n"
    )
    ran = subprocess.run([sys.executable, "-c", program, made], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("(1, 2)")


def test_it_is_loaded_from_the_hub_by_its_id_and_from_the_cache(made: Path, hub: FakeHub) -> None:
    hub.publish("a/exported", made)
    online = ImageEncoder("a/exported")
    assert not any("/text/" in request for request in hub.requests)  # the tower that was not asked for
    assert np.array_equal(ImageEncoder("a/exported", local_files_only=True).encode(IMAGES), online.encode(IMAGES))


def test_a_pickled_encoder_gives_the_same_vectors(made: Path) -> None:
    for encoder, inputs in ((ImageEncoder(made), IMAGES), (TextEncoder(made), TEXTS)):
        again = pickle.loads(pickle.dumps(encoder))
        assert again.fingerprint == encoder.fingerprint
        assert np.array_equal(again.encode(inputs), encoder.encode(inputs))


def test_the_fingerprint_is_that_of_the_runtime_and_the_folder(made: Path, folder: Path) -> None:
    assert ImageEncoder(made).fingerprint == ImageEncoder(folder).fingerprint
    assert ImageEncoder(made).fingerprint != ImageEncoder("tiny-shapes", backend="onnx").fingerprint
    change(folder, weights="others")
    assert ImageEncoder(made).fingerprint != ImageEncoder(folder).fingerprint


def test_a_folder_without_its_text_tower_says_so(tmp_path: Path) -> None:
    export("tiny-shapes", tmp_path / "made", texts=False)
    assert ImageEncoder(tmp_path / "made").dimension == 64
    with pytest.raises(CheckpointError, match="was exported without its text tower"):
        TextEncoder(tmp_path / "made")


def test_a_checkpoint_without_a_tokenizer_is_exported_without_texts(
    save: Callable[[str], Saved], tmp_path: Path
) -> None:
    shutil.copytree(save("clip").folder, tmp_path / "source", ignore=shutil.ignore_patterns("vocab*", "tokenizer.json"))
    processor = '{"size": {"height": 16, "width": 16}, "do_center_crop": false}'
    (tmp_path / "source" / "preprocessor_config.json").write_text(processor)
    export(tmp_path / "source", tmp_path / "made")
    assert "text" not in json.loads((tmp_path / "made" / CONFIG).read_text())


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_another_backend_than_its_own_is_refused(made: Path, backend: str) -> None:
    with pytest.raises(CheckpointError, match="is an exported folder, which only its own runtime can run"):
        ImageEncoder(made, backend=backend)


def test_another_dtype_than_its_own_is_refused(made: Path) -> None:
    with pytest.raises(ConfigurationError, match="was exported in float32, not in int8"):
        ImageEncoder(made, dtype="int8")


def test_another_preprocess_than_its_own_is_refused(made: Path) -> None:
    with pytest.raises(ConfigurationError, match="was exported with its preprocess"):
        ImageEncoder(made, preprocess=ClipPreprocess(resize=32, crop=(32, 32)))


def test_a_folder_of_a_later_version_is_refused_with_a_sentence(folder: Path) -> None:
    change(folder, version=2)
    with pytest.raises(CheckpointError, match=r"later version of this package.*; upgrade clip-image-encoder"):
        ImageEncoder(folder)


@pytest.mark.parametrize("name", ["vision/model.onnx", "vision/model.onnx.data"])
def test_a_file_that_was_cut_or_lost_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=f"{name} is damaged: it has {len(content) - 1} bytes"):
        ImageEncoder(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        ImageEncoder(folder)


def test_a_graph_that_is_none_is_damaged(folder: Path) -> None:
    size = (folder / "vision" / "model.onnx").stat().st_size
    (folder / "vision" / "model.onnx").write_bytes(b"\x00" * size)
    with pytest.raises(CheckpointError, match=r"vision/model\.onnx is damaged"):
        ImageEncoder(folder)


def test_weights_that_were_changed_are_found_out(folder: Path) -> None:
    data = folder / "vision" / "model.onnx.data"
    weights = np.fromfile(data, np.uint8)
    np.random.default_rng(0).shuffle(weights)
    weights.tofile(data)
    with pytest.raises((BackendError, CheckpointError), match=r"the vector of a known input is wrong|is damaged"):
        ImageEncoder(folder)


@pytest.mark.parametrize("kind", [ImageEncoder, TextEncoder])
def test_a_runtime_that_gives_wrong_numbers_is_found_out(
    made: Path, kind: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = OnnxRuntime.open

    def negated(self: OnnxRuntime, file: Path, device: str, *, patches: int | None, kept: Path | None) -> Any:
        run = opened(self, file, device, patches=patches, kept=kept)
        return lambda *inputs: -run(*inputs)

    monkeypatch.setattr(OnnxRuntime, "open", negated)
    with pytest.raises(BackendError, match=r"the expected one is -1\.0000, and float32 has to reach 0\.9999"):
        kind(made)


@pytest.mark.parametrize(("kind", "load"), [(ImageEncoder, ExportedBackend), (TextEncoder, ExportedTextBackend)])
def test_the_comparison_can_be_left_out(folder: Path, kind: Callable[..., Any], load: Callable[..., object]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    wrong = {name: config[name] | {"reference": [0.0] * 64} for name in ("vision", "text")}
    change(folder, **wrong)
    encoder = kind(folder, backend=partial(load, verify=False))
    assert encoder.dimension == pickle.loads(pickle.dumps(encoder)).dimension


@pytest.mark.parametrize("content", ["{}", "[]", '{"version": 1, "runtime": "onnx", "dtype": "float32"}'])
def test_a_config_that_says_nothing_is_an_error(folder: Path, content: str) -> None:
    (folder / CONFIG).write_text(content)
    with pytest.raises(CheckpointError, match=f"{CONFIG} is|exported without its vision tower"):
        ImageEncoder(folder)


def test_a_folder_that_holds_something_is_left_alone(made: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigurationError, match="is not empty"):
        export("tiny-shapes", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_of_two_exports_into_one_folder_at_once_one_is_whole_and_the_other_an_error(tmp_path: Path) -> None:
    def attempt(number: int) -> str:
        try:
            export("tiny-shapes", tmp_path / "made", texts=False)
        except ConfigurationError as error:
            return str(error)
        return "written"

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(attempt, range(2)))
    assert outcomes.count("written") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert ImageEncoder(tmp_path / "made").dimension == 64


def test_an_export_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no dtype 'float8'"):
        export("tiny-shapes", tmp_path / "made", dtype="float8")
    assert list(tmp_path.iterdir()) == []


def test_an_exported_folder_is_not_exported_again(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is an exported folder already"):
        export(made, tmp_path / "made")


def test_torch_is_no_runtime_to_export_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="only the backends 'onnx' and 'openvino'"):
        export("tiny-shapes", tmp_path / "made", backend="torch")


def test_its_format_is_told_by_its_config(made: Path) -> None:
    checkpoint = open_checkpoint(made)
    assert (checkpoint.format.name, checkpoint.runtime) == ("exported", "onnx")
