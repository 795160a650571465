"""A checkpoint format is one more file in the folder, and is told from the others by a checkpoint's files."""

from __future__ import annotations

import importlib
import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

import clip_image_encoder.checkpoint
from clip_image_encoder import CheckpointError, ImageEncoder, TextEncoder
from clip_image_encoder.checkpoint import open_checkpoint

BUNDLED = Path(clip_image_encoder.__file__).parent / "tiny_shapes" / "checkpoint"

# transformers' format under other names, with the model, the processor and the tensors' names in one file.
FORMAT = """
from clip_image_encoder.checkpoint import transformers
from clip_image_encoder.checkpoint._files import read_json
from clip_image_encoder.checkpoint._format import Format

FORMAT = Format(
    name="towers",
    config_file="tower.json",
    rank=2,
    is_whole=lambda files: "tower.safetensors" in files.listing,
    family=lambda config: None,
    vision=lambda config, name: transformers.FORMAT.vision(config["model"], name),
    text=lambda config, name: transformers.FORMAT.text(config["model"], name),
    preprocessor_config=lambda files: read_json(files, "tower.json")["images"],
    tokenizer_files=lambda files: sorted(name for name in files.listing if name.startswith("token")),
    weight_files=lambda files: ["tower.safetensors"],
    tensors=lambda files: dict.fromkeys(read_json(files, "tower.json")["tensors"], "tower.safetensors"),
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The bundled checkpoint in the other format."""
    made = tmp_path / "checkpoint"
    made.mkdir()
    with safe_open(BUNDLED / "model.safetensors", framework="np") as weights:
        names = list(weights.keys())
    description = {
        "model": json.loads((BUNDLED / "config.json").read_text()),
        "images": json.loads((BUNDLED / "preprocessor_config.json").read_text()),
        "tensors": names,
    }
    (made / "tower.json").write_text(json.dumps(description))
    (made / "tower.safetensors").write_bytes((BUNDLED / "model.safetensors").read_bytes())
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (made / name).write_bytes((BUNDLED / name).read_bytes())
    return made


@pytest.fixture
def _one_more_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The format's file beside those of the package."""
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "of_towers.py").write_text(FORMAT)
    package = clip_image_encoder.checkpoint
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(beside)])
    importlib.invalidate_caches()
    yield
    sys.modules.pop(f"{package.__name__}.of_towers", None)
    monkeypatch.delattr(package, "of_towers", raising=False)


@pytest.mark.usefixtures("_one_more_file")
def test_a_checkpoint_in_it_has_the_vectors_of_the_same_weights_in_another(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    texts = ["a red circle", "a blue star"]
    for kind, inputs in ((ImageEncoder, images), (TextEncoder, texts)):
        expected = kind("tiny-shapes", device="cpu").encode(inputs)
        assert np.array_equal(kind(folder, device="cpu").encode(inputs), expected)


@pytest.mark.usefixtures("_one_more_file")
def test_it_is_told_by_its_config_file(folder: Path) -> None:
    assert open_checkpoint(folder).format.config_file == "tower.json"
    assert open_checkpoint(BUNDLED).format.config_file == "config.json"


@pytest.mark.usefixtures("_one_more_file")
def test_its_fingerprint_is_of_its_own_config_and_weights(folder: Path) -> None:
    before = open_checkpoint(folder).fingerprint
    (folder / "README.md").write_text("no part of the model")
    assert open_checkpoint(folder).fingerprint == before
    (folder / "tower.json").write_text((folder / "tower.json").read_text() + " ")
    assert open_checkpoint(folder).fingerprint != before


@pytest.mark.usefixtures("_one_more_file")
def test_a_pickled_checkpoint_is_opened_in_its_format(folder: Path) -> None:
    checkpoint = pickle.loads(pickle.dumps(open_checkpoint(folder)))
    assert checkpoint.format.config_file == "tower.json"


def test_without_its_file_the_checkpoint_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none of .*config\.json, modules\.json"):
        open_checkpoint(folder)
