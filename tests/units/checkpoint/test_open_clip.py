"""Checkpoints in open_clip's format: told by their files or by their name, with vectors of the same weights."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL.Image import Resampling

from clip_image_encoder import (
    CheckpointError,
    ImageEncoder,
    MeanPatchesPooling,
    MissingExtraError,
    OpenClipPreprocess,
    TextEncoder,
)
from clip_image_encoder.checkpoint import open_checkpoint

from .fake_hub import FakeHub
from .open_clip_files import MODEL_CFG, save, save_both

TEXTS = ["a red circle", "The Blue star", "on the the star " * 30, ""]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder in open_clip's format, and one that has transformers', too; not to be changed."""
    plain, both = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("both")
    save(plain)
    save_both(both)
    return plain, both


@pytest.fixture
def folder(made: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy of the folder in open_clip's format, for a test to change."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(made[0], copy)
    return copy


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)


def with_config(folder: Path, **changes: Any) -> Path:
    """Change keys of `model_cfg`; those of a part are added to what it says."""
    path = folder / "open_clip_config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        old = config["model_cfg"].get(key)
        config["model_cfg"][key] = {**old, **value} if isinstance(old, dict) else value
    path.write_text(json.dumps(config))
    return folder


def test_vectors_of_images_are_those_of_the_same_weights_in_transformers_format(
    made: tuple[Path, Path], images: NDArray[np.uint8]
) -> None:
    plain, both = (ImageEncoder(folder, device="cpu").encode(images) for folder in made)
    np.testing.assert_allclose(plain, both, atol=1e-6)


def test_vectors_of_texts_are_those_of_the_same_weights_in_transformers_format(made: tuple[Path, Path]) -> None:
    plain, both = (TextEncoder(folder, device="cpu").encode(TEXTS) for folder in made)
    np.testing.assert_allclose(plain, both, atol=1e-6)


def test_a_text_tower_of_its_own_class_is_found(tmp_path: Path, made: tuple[Path, Path]) -> None:
    save(tmp_path / "custom", {**MODEL_CFG, "custom_text": True}, tower="text.")
    custom = TextEncoder(tmp_path / "custom", device="cpu").encode(TEXTS)
    assert np.array_equal(custom, TextEncoder(made[0], device="cpu").encode(TEXTS))


def test_patches_pass_the_last_norm_and_the_projection(made: tuple[Path, Path], images: NDArray[np.uint8]) -> None:
    plain, both = (ImageEncoder(folder, device="cpu", pooling=MeanPatchesPooling()).encode(images) for folder in made)
    np.testing.assert_allclose(plain, both, atol=1e-6)


def test_a_text_encoder_knows_what_a_cosine_means(made: tuple[Path, Path]) -> None:
    plain, both = (TextEncoder(folder, device="cpu") for folder in made)
    assert plain.logit_scale == both.logit_scale
    assert plain.logit_bias is None


@pytest.mark.parametrize("prefix", ["local-dir:", "hf-hub:"])
def test_of_two_formats_the_one_is_taken_that_the_name_says(prefix: str, made: tuple[Path, Path]) -> None:
    assert open_checkpoint(made[1]).format.config_file == "config.json"
    assert open_checkpoint(f"{prefix}{made[1]}").format.config_file == "open_clip_config.json"


def test_of_two_formats_the_one_with_weights_is_taken(made: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(made[1], folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    assert open_checkpoint(folder).format.config_file == "open_clip_config.json"


def test_a_config_of_timm_beside_it_is_not_taken_for_one_of_transformers(folder: Path) -> None:
    (folder / "config.json").write_text('{"architecture": "vit_base_patch32_clip_224"}')
    (folder / "model.safetensors").write_bytes(b"timm's weights")
    assert open_checkpoint(folder).format.config_file == "open_clip_config.json"


def test_a_pickled_encoder_reads_the_same_format_again(made: tuple[Path, Path], images: NDArray[np.uint8]) -> None:
    encoder = ImageEncoder(f"local-dir:{made[1]}", device="cpu")
    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint == encoder.fingerprint
    assert np.array_equal(again.encode(images), encoder.encode(images))


@pytest.mark.parametrize("name", ["hf-hub:a/clip", "a/clip"])
def test_it_is_downloaded_from_the_hub_and_found_in_the_cache(name: str, hub: FakeHub, folder: Path) -> None:
    hub.publish("a/clip", folder)
    fingerprint = ImageEncoder(name, device="cpu").fingerprint
    assert ImageEncoder(name, device="cpu", local_files_only=True).fingerprint == fingerprint
    assert not any("discussions" in request for request in hub.requests)


def test_its_preprocess_is_open_clips(folder: Path) -> None:
    path = folder / "open_clip_config.json"
    images = {"mean": [0.5, 0.5, 0.5], "std": 0.25, "interpolation": "bilinear", "resize_mode": "squash"}
    path.write_text(json.dumps({"model_cfg": MODEL_CFG, "preprocess_cfg": images}))
    preprocess = ImageEncoder(folder, device="cpu").preprocess
    assert preprocess == OpenClipPreprocess(
        size=(32, 32),
        resize_mode="squash",
        resample=Resampling.BILINEAR,
        mean=(0.5, 0.5, 0.5),
        std=(0.25, 0.25, 0.25),
        exact=False,
    )


def test_a_pickle_is_refused_with_the_line_that_converts_it(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").rename(folder / "open_clip_pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"save_file\(torch\.load\('open_clip_pytorch_model\.bin', weights_only"):
        ImageEncoder(folder, device="cpu")


def test_no_weights_at_all_are_named(folder: Path) -> None:
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no weights; open_clip_model\.safetensors is missing"):
        ImageEncoder(folder, device="cpu")


@pytest.mark.parametrize("name", [None, "timm/ViT-B-16-SigLIP"])
def test_texts_without_a_tokenizer_say_whose_to_take(folder: Path, name: str | None) -> None:
    for file in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / file).unlink()
    with_config(folder, text_cfg={"hf_tokenizer_name": name})
    with pytest.raises(CheckpointError, match=f"tokenizer='{name or 'openai/clip-vit-large-patch14'}'"):
        TextEncoder(folder, device="cpu")


def test_another_checkpoints_tokenizer_may_be_taken(folder: Path, made: tuple[Path, Path]) -> None:
    expected = TextEncoder(folder, device="cpu").encode(TEXTS)
    for file in ("tokenizer.json", "vocab.json", "merges.txt"):
        (folder / file).unlink()
    encoder = TextEncoder(folder, tokenizer=made[0], device="cpu")
    assert np.array_equal(encoder.encode(TEXTS), expected)


def test_a_config_that_says_nothing_of_the_model_is_named(folder: Path) -> None:
    (folder / "open_clip_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"open_clip_config\.json is invalid: 'model_cfg' is missing"):
        ImageEncoder(folder, device="cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer_kwargs": {"clean": "shout"}},
        {"tokenizer_kwargs": {"reduction_mask": "simple"}},
        {"tokenizer_mode": "clips", "hf_tokenizer_name": "bert-base-uncased"},
    ],
)
def test_texts_that_are_prepared_in_an_unknown_way_are_refused(folder: Path, changes: dict[str, Any]) -> None:
    with_config(folder, text_cfg=changes)
    with pytest.raises(CheckpointError, match="which is not"):
        TextEncoder(folder, device="cpu")


def test_another_number_of_layers_than_the_weights_have_is_an_error(folder: Path) -> None:
    with_config(folder, vision_cfg={"layers": 3})
    with pytest.raises(CheckpointError, match=r"the weights lack 'visual\.transformer\.resblocks\.2"):
        ImageEncoder(folder, device="cpu")


@pytest.mark.parametrize(
    "vision",
    [{"timm_model_name": "fastvit_mci0"}, {"layers": [1, 1, 1, 1]}, {"ls_init_value": 0.1}, {"qk_norm": True}],
)
def test_without_open_clip_an_architecture_of_its_own_says_what_to_install(
    folder: Path, vision: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with_config(folder, vision_cfg=vision)
    with pytest.raises(MissingExtraError, match=r"pip install 'clip-image-encoder\[open_clip\]'"):
        ImageEncoder(folder, device="cpu")


def test_a_text_tower_of_open_clips_own_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with_config(folder, text_cfg={"embed_cls": True})
    with pytest.raises(MissingExtraError, match=r"pip install 'clip-image-encoder\[open_clip\]'"):
        TextEncoder(folder, device="cpu")


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_runtimes_refuse_what_goes_through_open_clip(folder: Path, backend: str) -> None:
    with_config(folder, vision_cfg={"timm_model_name": "fastvit_mci0"})
    with pytest.raises(Exception, match=r"runs through the open_clip package.*backend='torch'"):
        ImageEncoder(folder, backend=backend)


def test_only_the_tower_that_is_asked_for_is_read(folder: Path) -> None:
    with_config(folder, text_cfg={"width": 4096})
    assert ImageEncoder(folder, device="cpu").dimension == 24
