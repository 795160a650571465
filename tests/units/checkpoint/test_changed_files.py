"""Files that are replaced behind an encoder's back: its fingerprint is that of what it loaded, or an error."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest

from clip_image_encoder import ClipPreprocess, ImageEncoder, PixelFormat
from clip_image_encoder.backends import torch as torch_backends
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.cache import CachedEncoder, MemoryCache
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import CheckpointError

from .fake_hub import FakeHub

PIXEL_FORMAT = PixelFormat(size=(16, 16), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

WEIGHTS = "model.safetensors"
CHANGED = "has changed since it was first read; make a new encoder"


def load(folder: Path) -> TorchBackend:
    return TorchBackend(open_checkpoint(folder), pixel_format=PIXEL_FORMAT)


def replace_weights(folder: Path, other: Path) -> None:
    """Put another file in the place of the weights, with a time of its own, as a deployment does."""
    shutil.copy2(other / WEIGHTS, folder / "new")
    (folder / "new").replace(folder / WEIGHTS)


def change_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"layer_norm_eps": 0.25}
    (folder / "config.json").write_text(json.dumps(config))


def test_weights_that_are_replaced_after_loading_leave_the_encoder_without_a_fingerprint(
    folder: Path, other: Path
) -> None:
    encoder = ImageEncoder(folder, preprocess=ClipPreprocess(resize=(16, 16), crop=None))
    replace_weights(folder, other)
    with pytest.raises(CheckpointError, match=f"model.safetensors {CHANGED}"):
        _ = encoder.fingerprint
    with pytest.raises(CheckpointError, match=CHANGED):
        CachedEncoder(encoder, MemoryCache())


def test_weights_that_are_overwritten_in_place_do_so_too(folder: Path, other: Path) -> None:
    backend = load(folder)
    shutil.copyfile(other / WEIGHTS, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=CHANGED):
        _ = backend.fingerprint


def test_a_config_that_is_changed_after_loading_does_so_too(folder: Path) -> None:
    backend = load(folder)
    change_config(folder)
    with pytest.raises(CheckpointError, match=f"config.json {CHANGED}"):
        _ = backend.fingerprint


def test_a_fingerprint_that_was_asked_for_before_stays(folder: Path, other: Path) -> None:
    backend = load(folder)
    before = backend.fingerprint
    replace_weights(folder, other)
    assert backend.fingerprint == before


def test_a_file_that_is_added_later_is_not_taken_for_the_weights(folder: Path, other: Path) -> None:
    (folder / WEIGHTS).rename(folder / "shard.safetensors")
    names = open_names(folder / "shard.safetensors")
    index = {"weight_map": dict.fromkeys(names, "shard.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    expected = load(folder).fingerprint
    backend = load(folder)
    shutil.copy2(other / WEIGHTS, folder / WEIGHTS)
    assert backend.fingerprint == expected


def open_names(file: Path) -> list[str]:
    length = int.from_bytes(file.read_bytes()[:8], "little")
    return [name for name in json.loads(file.read_bytes()[8 : 8 + length]) if name != "__metadata__"]


def test_weights_for_another_device_are_those_of_the_first_or_none(
    folder: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_backends, "torch_devices", lambda: ("cpu", "cpu:0"))
    backend = load(folder)
    replace_weights(folder, other)
    with pytest.raises(CheckpointError, match=CHANGED):
        backend(np.zeros((1, 16, 16, 3), np.uint8), output="pooled", device="cpu:0")


def test_a_pickle_with_a_fingerprint_is_refused_where_the_weights_are_others(folder: Path, other: Path) -> None:
    backend = load(folder)
    assert backend.fingerprint
    pickled = pickle.dumps(backend)
    replace_weights(folder, other)
    with pytest.raises(CheckpointError, match="are not those that were pickled; make a new encoder"):
        pickle.loads(pickled)


def test_a_pickle_with_a_fingerprint_is_at_home_where_the_same_weights_lie(folder: Path) -> None:
    backend = load(folder)
    before = backend.fingerprint
    pickled = pickle.dumps(backend)
    shutil.copyfile(folder / WEIGHTS, folder / "new")  # as on another machine: the same bytes, another time
    (folder / "new").replace(folder / WEIGHTS)
    assert pickle.loads(pickled).fingerprint == before


def test_a_pickle_without_a_fingerprint_gets_that_of_what_it_loads(folder: Path, other: Path) -> None:
    pickled = pickle.dumps(load(folder))
    replace_weights(folder, other)
    change_config(folder)
    restored, new = pickle.loads(pickled), load(folder)
    assert restored.fingerprint == new.fingerprint
    pixels = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        restored(pixels, output="pooled", device="cpu"), new(pixels, output="pooled", device="cpu")
    )


def test_a_commit_of_the_hub_is_not_read_again_to_know_it(hub: FakeHub) -> None:
    checkpoint = open_checkpoint("someone/vit")
    expected = checkpoint.fingerprint
    restored = pickle.loads(pickle.dumps(checkpoint))
    restored.files.path(WEIGHTS).unlink()
    assert restored.fingerprint == expected
