"""Checkpoints by the name they have on the hub."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import snapshot_download

from clip_image_encoder import PixelFormat
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.checkpoint import open_checkpoint

from .fake_hub import FakeHub

PIXEL_FORMAT = PixelFormat(size=(16, 16), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def test_a_name_on_the_hub_gives_the_checkpoint_that_lies_there(hub: FakeHub, saved: Path) -> None:
    checkpoint = open_checkpoint("someone/vit")
    assert checkpoint.name == "someone/vit"
    assert checkpoint.config == open_checkpoint(saved).config
    assert checkpoint.fingerprint == open_checkpoint(saved).fingerprint


def test_a_backend_from_the_hub_computes_what_one_from_the_folder_does(hub: FakeHub, saved: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    vectors = [
        TorchBackend(open_checkpoint(model), pixel_format=PIXEL_FORMAT)(pixels, output="pooled", device="cpu")
        for model in ("someone/vit", saved)
    ]
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_files_are_kept_in_the_cache_dir_that_is_given(hub: FakeHub, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere"
    checkpoint = open_checkpoint("someone/vit", cache_dir=cache)
    assert checkpoint.files.path("model.safetensors").is_relative_to(cache)
    assert not (tmp_path / "hub-cache").exists()


def test_weights_are_not_fetched_before_they_are_needed(hub: FakeHub) -> None:
    checkpoint = open_checkpoint("someone/vit")
    assert checkpoint.vision.image_size == (16, 16)
    assert not any("model.safetensors" in request for request in hub.requests)


def test_only_the_files_that_are_needed_are_fetched(hub: FakeHub) -> None:
    hub.repositories["someone/vit"].revisions["main"]["pytorch_model.bin"] = b"an older copy of the weights"
    hub.repositories["someone/vit"].revisions["main"]["README.md"] = b"# A model"
    TorchBackend(open_checkpoint("someone/vit"), pixel_format=PIXEL_FORMAT)
    fetched = {request.rpartition("/")[2] for request in hub.requests if "/resolve/" in request}
    assert fetched == {"config.json", "model.safetensors"}


def test_a_revision_picks_the_weights_of_that_branch(hub: FakeHub, other: Path) -> None:
    hub.publish("someone/vit", other, revision="experiment")
    branch = open_checkpoint("someone/vit", revision="experiment")
    assert branch.fingerprint == open_checkpoint(other).fingerprint
    assert branch.fingerprint != open_checkpoint("someone/vit").fingerprint


def test_a_revision_may_be_a_commit(hub: FakeHub, saved: Path, other: Path) -> None:
    commit = hub.repositories["someone/vit"].commit("main")
    hub.repositories["someone/vit"].revisions["old"] = hub.repositories["someone/vit"].revisions["main"]
    hub.publish("someone/vit", other)
    assert open_checkpoint("someone/vit", revision=commit).fingerprint == open_checkpoint(saved).fingerprint


def test_a_branch_with_a_slash_in_its_name_is_a_revision_like_any_other(hub: FakeHub, other: Path) -> None:
    hub.publish("someone/vit", other, revision="refs/pr/7")
    checkpoint = open_checkpoint("someone/vit", revision="refs/pr/7")
    assert checkpoint.fingerprint == open_checkpoint(other).fingerprint


def test_an_open_checkpoint_keeps_its_commit_when_the_branch_moves_on(hub: FakeHub, saved: Path, other: Path) -> None:
    hub.repositories["someone/vit"].revisions["old"] = hub.repositories["someone/vit"].revisions["main"]
    checkpoint = open_checkpoint("someone/vit")
    hub.publish("someone/vit", other)
    assert checkpoint.fingerprint == open_checkpoint(saved).fingerprint
    assert open_checkpoint("someone/vit").fingerprint == open_checkpoint(other).fingerprint


def test_a_pickle_names_the_commit_and_carries_no_weights(hub: FakeHub, saved: Path, other: Path) -> None:
    hub.repositories["someone/vit"].revisions["old"] = hub.repositories["someone/vit"].revisions["main"]
    pickled = pickle.dumps(open_checkpoint("someone/vit"))
    hub.publish("someone/vit", other)
    assert len(pickled) < 5_000
    assert pickle.loads(pickled).fingerprint == open_checkpoint(saved).fingerprint


def test_the_token_is_sent_with_every_request(hub: FakeHub) -> None:
    hub.repositories["someone/vit"].private_to = "my-token"
    checkpoint = open_checkpoint("someone/vit", token="my-token")  # noqa: S106 - made up
    assert checkpoint.fingerprint
    assert set(hub.tokens) == {"my-token"}


def test_the_token_in_the_environment_is_sent(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my-token")
    hub.repositories["someone/vit"].private_to = "my-token"
    assert open_checkpoint("someone/vit").fingerprint


def test_no_token_is_sent_if_none_is_wanted(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "my-token")
    assert open_checkpoint("someone/vit", token=False).fingerprint
    assert set(hub.tokens) == {None}


def test_a_token_is_in_no_repr(hub: FakeHub) -> None:
    checkpoint = open_checkpoint("someone/vit", token="my-token")  # noqa: S106 - made up
    assert "my-token" not in f"{checkpoint!r} {checkpoint.files!r}"


def test_a_repository_with_pickles_is_read_from_its_open_conversion(hub: FakeHub, saved: Path) -> None:
    repository = hub.publish("someone/vit", saved, revision="refs/pr/1")
    repository.revisions["main"] = {"config.json": (saved / "config.json").read_bytes(), "pytorch_model.bin": b"pickle"}
    assert open_checkpoint("someone/vit").fingerprint == open_checkpoint(saved).fingerprint
    assert not any("pytorch_model.bin" in request for request in hub.requests)


def test_a_cached_conversion_is_found_again_without_the_hub(hub: FakeHub, saved: Path) -> None:
    repository = hub.publish("someone/vit", saved, revision="refs/pr/1")
    repository.revisions["main"] = {"config.json": (saved / "config.json").read_bytes(), "pytorch_model.bin": b"pickle"}
    first = open_checkpoint("someone/vit").fingerprint
    hub.requests.clear()
    assert open_checkpoint("someone/vit", local_files_only=True).fingerprint == first
    assert hub.requests == []


def test_a_snapshot_that_huggingface_hub_downloaded_is_reused(hub: FakeHub, saved: Path, tmp_path: Path) -> None:
    snapshot_download("someone/vit", cache_dir=tmp_path / "mounted")
    hub.requests.clear()
    checkpoint = open_checkpoint("someone/vit", cache_dir=tmp_path / "mounted", local_files_only=True)
    assert checkpoint.fingerprint == open_checkpoint(saved).fingerprint
    assert hub.requests == []
