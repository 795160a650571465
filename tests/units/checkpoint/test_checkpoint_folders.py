"""Checkpoints in local folders, sound and damaged."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL.Image import Resampling

from clip_image_encoder import ClipPreprocess, PixelFormat
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.checkpoint.transformers import FORMAT
from clip_image_encoder.errors import CheckpointError, ConfigurationError

PIXEL_FORMAT = PixelFormat(size=(16, 16), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def load(folder: Path) -> TorchBackend:
    return TorchBackend(open_checkpoint(folder), pixel_format=PIXEL_FORMAT)


class Canary:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[Path]]:
        return Path.touch, (self.mark,)


def test_a_folder_may_be_a_string_or_a_path(folder: Path) -> None:
    assert open_checkpoint(str(folder)) == open_checkpoint(folder)


def test_a_relative_folder_is_pinned_to_where_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    checkpoint = open_checkpoint(folder.name)
    monkeypatch.chdir("/")
    assert checkpoint.fingerprint == open_checkpoint(folder).fingerprint


def test_its_name_is_the_folders(folder: Path) -> None:
    assert open_checkpoint(folder).name == str(folder)


def test_the_fingerprint_follows_the_weights(saved: Path, other: Path, folder: Path) -> None:
    assert open_checkpoint(folder).fingerprint == open_checkpoint(saved).fingerprint
    assert open_checkpoint(folder).fingerprint != open_checkpoint(other).fingerprint


def test_the_fingerprint_follows_the_config(saved: Path, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"layer_norm_eps": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    assert open_checkpoint(folder).fingerprint != open_checkpoint(saved).fingerprint


def test_a_pickle_holds_no_weights(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    pickled = pickle.dumps(checkpoint)
    assert len(pickled) < 5_000
    assert pickle.loads(pickled) == checkpoint


def test_a_folder_has_no_revisions(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="is a folder and has no revisions"):
        open_checkpoint(folder, revision="main")


@pytest.mark.parametrize("name", ["missing/deeper/still", "./missing", "../missing", "/no/such/folder", "a b"])
def test_a_folder_that_is_not_there_is_said_to_be_missing(name: str) -> None:
    with pytest.raises(CheckpointError, match="no such folder") as caught:
        open_checkpoint(name)
    assert name in str(caught.value)


def test_a_path_is_never_taken_for_a_name_on_the_hub() -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        open_checkpoint(Path("someone/vit"))


def test_a_file_is_no_checkpoint(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for file in (folder / "model.safetensors", "model.safetensors"):
        with pytest.raises(CheckpointError, match=r"model\.safetensors is a file.*folder"):
            open_checkpoint(file)


@pytest.mark.parametrize("model", [None, 3, b"someone/vit", ""])
def test_what_is_no_name_is_refused(model: str) -> None:
    with pytest.raises(ConfigurationError, match="model must be"):
        open_checkpoint(model)


def test_a_folder_without_config_is_no_checkpoint(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"none of .*config\.json, modules\.json"):
        open_checkpoint(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"model_type": "vit",}'])
def test_a_config_that_is_not_json_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json can't be read"):
        open_checkpoint(folder)


@pytest.mark.parametrize("content", ["[]", "null", '"vit"', "3"])
def test_a_config_that_is_no_object_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match="not a JSON object"):
        open_checkpoint(folder)


def test_weights_that_end_early_are_named(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged or cut short"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"\x08", struct.pack("<Q", 2**60) + b"{}", b"version https://git-lfs\n" * 9])
def test_weights_that_are_no_safetensors_are_named(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        load(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pth", "model.ckpt"])
def test_a_pickle_is_refused_and_never_loaded(folder: Path, name: str) -> None:
    mark = folder / "mark"
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Canary(mark)))
    with pytest.raises(CheckpointError, match=rf"pickle only \({name}\).*can run any code.*safe_serialization"):
        load(folder)
    assert not mark.exists()


def test_the_canary_sings(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Canary(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def test_a_pickle_beside_the_safetensors_is_never_loaded(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Canary(folder / "mark")))
    assert load(folder).dimension == 16
    assert not (folder / "mark").exists()


def test_a_pickle_under_the_name_of_safetensors_is_never_loaded(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Canary(folder / "mark")))
    with pytest.raises(CheckpointError, match="damaged"):
        load(folder)
    assert not (folder / "mark").exists()


def test_a_folder_without_weights_lacks_them(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors is missing"):
        load(folder)


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"embeddings.cls_token": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model-00001-of-00001\.safetensors is missing"):
        _ = open_checkpoint(folder).fingerprint


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {"tensor": 3}}])
def test_an_index_of_shards_that_makes_no_sense_is_named(folder: Path, index: dict[str, object]) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        load(folder)


def test_the_whole_file_wins_over_shards(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"tensor": "shard.safetensors"}}')
    assert FORMAT.weight_files(open_checkpoint(folder).files) == ["model.safetensors"]


def test_the_preprocessors_config_is_read(folder: Path) -> None:
    config = {"size": {"height": 16, "width": 16}, "image_processor_type": "BitImageProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    assert open_checkpoint(folder).preprocessor_config == config


def test_the_preprocessors_config_may_be_part_of_the_processors(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(
        '{"image_processor": {"size": 7, "feature_extractor_type": "CLIPFeatureExtractor"}}'
    )
    assert open_checkpoint(folder).preprocessor_config == {"size": 7, "feature_extractor_type": "CLIPFeatureExtractor"}


@pytest.mark.parametrize(
    ("model_type", "resample", "mean"),
    [
        ("clip", Resampling.BICUBIC, 0.48145466),
        ("dinov2", Resampling.BICUBIC, 0.48145466),
        ("siglip", Resampling.BICUBIC, 0.5),
        ("siglip2", Resampling.BILINEAR, 0.5),
        ("vit", Resampling.BILINEAR, 0.5),
    ],
)
def test_a_preprocessors_config_that_names_no_class_is_that_of_the_family(
    folder: Path, model_type: str, resample: Resampling, mean: float
) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    preprocess = ClipPreprocess.from_config(open_checkpoint(folder).preprocessor_config)
    assert (preprocess.resample, preprocess.mean[0]) == (resample, mean)


def test_code_beside_a_preprocessors_config_is_no_class_of_the_family(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"auto_map": {"AutoImageProcessor": "processing.Toy"}}')
    with pytest.raises(ConfigurationError, match="auto_map"):
        ClipPreprocess.from_config(open_checkpoint(folder).preprocessor_config)


@pytest.mark.parametrize("processor", [None, '{"processor_class": "CLIPProcessor"}'])
def test_a_missing_preprocessors_config_is_answered_with_what_to_do(folder: Path, processor: str | None) -> None:
    (folder / "preprocessor_config.json").unlink()
    if processor is not None:
        (folder / "processor_config.json").write_text(processor)
    checkpoint: Checkpoint = open_checkpoint(folder)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json is missing.*pass preprocess="):
        _ = checkpoint.preprocessor_config
