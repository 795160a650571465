"""clip-image-encoder info: what a checkpoint is, what runs it here, and what is missing; without its weights."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPVisionConfig, CLIPVisionModel, ConvNextConfig, ConvNextModel

import clip_image_encoder
from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.__main__ import main
from clip_image_encoder.backends import find_devices
from clip_image_encoder.checkpoint import open_checkpoint
from tests.public import DOCS
from tests.units.checkpoint import open_clip_files
from tests.units.text.sentences import modules_json

BUNDLED = Path(clip_image_encoder.__file__).parent / "tiny_shapes" / "checkpoint"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of tiny-shapes, for a test to change."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(BUNDLED, copy)
    return copy


@pytest.fixture
def convnext(tmp_path: Path) -> Path:
    """A model that runs through its own class of transformers."""
    saved = tmp_path / "convnext"
    shape: dict[str, Any] = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "image_size": 32}
    ConvNextModel(ConvNextConfig(**shape)).save_pretrained(saved)
    settings = {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}}
    (saved / "preprocessor_config.json").write_text(json.dumps(settings))
    return saved


def told(capsys: pytest.CaptureFixture[str], model: str | Path, *options: str, status: int = 0) -> dict[str, Any]:
    """Return the JSON object that is printed of a model."""
    capsys.readouterr()
    assert main(["info", str(model), "--json", *options]) == status
    facts: dict[str, Any] = json.loads(capsys.readouterr().out)
    return facts


def lines(capsys: pytest.CaptureFixture[str], model: str | Path, *, status: int = 0) -> list[str]:
    """Return the lines that are printed of a model."""
    capsys.readouterr()
    assert main(["info", str(model)]) == status
    return capsys.readouterr().out.splitlines()


def test_the_towers_are_those_that_the_encoders_load(capsys: pytest.CaptureFixture[str]) -> None:
    facts, images, texts = told(capsys, "tiny-shapes"), ImageEncoder("tiny-shapes"), TextEncoder("tiny-shapes")
    assert facts["encodes"] == ["images", "texts"]
    assert facts["dimension"] == images.dimension
    assert tuple(facts["vision"]["image_size"]) == images.backend.image_size
    assert facts["vision"]["outputs"] == sorted(images.backend.outputs)
    assert facts["vision"]["prefix_tokens"] == images.backend.prefix_tokens
    assert facts["text"]["max_length"] == texts.backend.max_length


def test_the_pixels_are_those_that_the_preprocess_makes(capsys: pytest.CaptureFixture[str]) -> None:
    pixels, preprocess = told(capsys, "tiny-shapes")["pixels"], ImageEncoder("tiny-shapes").preprocess
    assert pixels["preprocess"] == type(preprocess).__name__
    assert [*map(tuple, (pixels["size"], pixels["mean"], pixels["std"]))] == [
        preprocess.pixel_format.size,  # type: ignore[union-attr]  # no plain function here
        preprocess.pixel_format.mean,  # type: ignore[union-attr]
        preprocess.pixel_format.std,  # type: ignore[union-attr]
    ]


def test_the_weights_are_told_with_size_and_dtype(capsys: pytest.CaptureFixture[str]) -> None:
    size = (BUNDLED / "model.safetensors").stat().st_size
    assert told(capsys, "tiny-shapes")["weights"] == [
        {"name": "model.safetensors", "size": size, "dtypes": ["float16"]}
    ]


def test_every_backend_is_told_with_its_devices(capsys: pytest.CaptureFixture[str]) -> None:
    backends = {backend["name"]: backend for backend in told(capsys, "tiny-shapes")["backends"]}
    assert {name: tuple(backend["devices"]) for name, backend in backends.items()} == {
        name: find_devices(name) for name in ("onnx", "openvino", "torch")
    }
    assert all(backend["runs"] == ["images", "texts"] for backend in backends.values())


def test_a_backend_that_is_not_installed_comes_with_the_line_that_installs_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "clip_image_encoder.backends.onnx", raising=False)
    (line,) = (line for line in lines(capsys, "tiny-shapes") if line.startswith("on onnx"))
    assert line.endswith("not here: backend 'onnx' needs onnxruntime: python -m pip install 'clip-image-encoder[onnx]'")


def test_no_weights_are_loaded_and_no_tower_is_built(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clip_image_encoder.checkpoint._weights.SafetensorsWeights", None)
    monkeypatch.setattr("clip_image_encoder.models._towers.build", None)
    assert told(capsys, "tiny-shapes")["dimension"] == 64


def test_the_fingerprint_is_told_when_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "tiny-shapes")["fingerprint"] is None
    assert told(capsys, "tiny-shapes", "--fingerprint")["fingerprint"] == open_checkpoint("tiny-shapes").fingerprint


def test_the_format_of_open_clip_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    open_clip_files.save(tmp_path / "open_clip")
    facts = told(capsys, tmp_path / "open_clip")
    assert (facts["format"], facts["dimension"], facts["encodes"]) == ("open_clip", 24, ["images", "texts"])


def test_the_format_of_sentence_transformers_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shutil.copytree(BUNDLED, tmp_path / "model" / "0_CLIPModel")
    modules_json(tmp_path / "model", ("CLIPModel", "0_CLIPModel"))
    facts = told(capsys, tmp_path / "model")
    assert (facts["format"], facts["family"]) == ("sentence-transformers", "CLIP")
    assert facts["weights"][0]["name"] == "0_CLIPModel/model.safetensors"


def test_a_model_without_a_family_says_through_whose_code_it_runs(
    capsys: pytest.CaptureFixture[str], convnext: Path
) -> None:
    facts = told(capsys, convnext)
    assert (facts["family"], facts["dimension"]) == ("convnext", 16)
    assert facts["vision"]["through"] == "transformers' ConvNextModel"
    assert facts["pixels"]["preprocess"] == "transformers' ConvNextImageProcessor"


def test_a_model_through_the_code_of_others_runs_on_torch_only(
    capsys: pytest.CaptureFixture[str], convnext: Path
) -> None:
    assert {backend["name"]: backend["runs"] for backend in told(capsys, convnext)["backends"]} == {
        "onnx": [],
        "openvino": [],
        "torch": ["images"],
    }


@pytest.mark.parametrize(
    ("missing", "reason", "left"),
    [
        ("preprocessor_config.json", "missing: preprocessor_config.json is missing", ["texts"]),
        ("tokenizer.json vocab.json", "missing: the tokenizer's files are missing", ["images"]),
        ("model.safetensors", "missing: no weights; model.safetensors is missing", []),
    ],
)
def test_what_is_missing_is_told_with_the_reason(
    missing: str, reason: str, left: list[str], capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    for name in missing.split():
        (folder / name).unlink()
    status = 0 if left else 1
    assert any(line.startswith(reason) for line in lines(capsys, folder, status=status))
    assert told(capsys, folder, status=status)["encodes"] == left


def test_weights_that_are_damaged_are_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"cut short")
    facts = told(capsys, folder, status=1)
    assert facts["encodes"] == []
    assert "model.safetensors is damaged or cut short" in facts["missing"][0]


def test_a_preprocess_that_does_not_fit_the_tower_is_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"size": 32, "crop_size": 32}')
    facts = told(capsys, folder)
    assert facts["encodes"] == ["texts"]
    assert facts["missing"] == [f"{folder} takes pixels of size (64, 64), the preprocess makes (32, 32)"]


def test_a_model_that_nothing_computes_is_told_once(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "no-such-model"}')
    facts = told(capsys, folder, status=1)
    (reason,) = facts["missing"]
    assert reason.startswith("config.json has model_type 'no-such-model'")
    assert facts["family"] == "no-such-model"


def test_a_dimension_that_only_the_weights_tell_is_left_out(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    shape: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "image_size": 16}
    CLIPVisionModel(CLIPVisionConfig(**shape, num_hidden_layers=1, patch_size=8)).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": 16, "crop_size": 16}')
    assert not any(line.startswith("dimension") for line in lines(capsys, tmp_path))


def test_a_revision_of_a_folder_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "tiny-shapes", "--revision", "main"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_page_shows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "how-to" / "command-line.md").read_text("utf-8").splitlines()
    # Where it lies and which devices there are is another thing on each machine.
    printed = [line for line in lines(capsys, "tiny-shapes") if not line.startswith(("model", "on "))]
    assert [line for line in printed if line not in page] == []
