"""Checkpoints from the cache, with the hub gone or not to be asked."""

from __future__ import annotations

import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import hf_hub_download

from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import CheckpointError

from .fake_hub import FakeHub


def test_a_second_start_without_the_hub_gives_the_same(hub: FakeHub) -> None:
    first = open_checkpoint("someone/vit")
    assert first.fingerprint
    hub.close()
    second = open_checkpoint("someone/vit")
    assert second.config == first.config
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize("private_to", ["someone-else", None])
def test_a_hub_that_no_longer_lets_us_in_is_like_no_hub(hub: FakeHub, private_to: str | None) -> None:
    first = open_checkpoint("someone/vit").fingerprint
    if private_to is None:
        del hub.repositories["someone/vit"]
    else:
        hub.repositories["someone/vit"].private_to = private_to
    assert open_checkpoint("someone/vit").fingerprint == first


def test_a_cached_gated_repository_needs_no_token(hub: FakeHub, tmp_path: Path) -> None:
    hub.repositories["someone/vit"].gated_to = "my-token"
    first = open_checkpoint("someone/vit", token="my-token").fingerprint  # noqa: S106 - made up
    assert open_checkpoint("someone/vit").fingerprint == first


def test_local_files_only_asks_nobody(hub: FakeHub) -> None:
    first = open_checkpoint("someone/vit").fingerprint
    hub.requests.clear()
    assert open_checkpoint("someone/vit", local_files_only=True).fingerprint == first
    assert hub.requests == []


def test_offline_asks_nobody(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_checkpoint("someone/vit").fingerprint
    hub.requests.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert open_checkpoint("someone/vit").fingerprint == first
    assert hub.requests == []


def test_nothing_in_the_cache_is_said_at_once(hub: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"someone/vit is not in the cache .*local_files_only") as caught:
        open_checkpoint("someone/vit", cache_dir=tmp_path / "empty", local_files_only=True)
    assert str(tmp_path / "empty") in str(caught.value)
    assert hub.requests == []


def test_a_cached_revision_is_found_by_its_name_and_by_its_commit(hub: FakeHub, other: Path) -> None:
    repository = hub.publish("someone/vit", other, revision="experiment")
    expected = open_checkpoint("someone/vit", revision="experiment").fingerprint
    for revision in ("experiment", repository.commit("experiment")):
        cached = open_checkpoint("someone/vit", revision=revision, local_files_only=True)
        assert cached.fingerprint == expected


def test_another_revision_than_the_cached_one_is_not_replaced_by_it(hub: FakeHub) -> None:
    assert open_checkpoint("someone/vit").fingerprint
    with pytest.raises(CheckpointError, match="not in the cache"):
        open_checkpoint("someone/vit", revision="experiment", local_files_only=True)


def test_a_cache_that_was_moved_is_reused(hub: FakeHub, tmp_path: Path) -> None:
    first = open_checkpoint("someone/vit", cache_dir=tmp_path / "here").fingerprint
    shutil.move(tmp_path / "here", tmp_path / "there")
    cached = open_checkpoint("someone/vit", cache_dir=tmp_path / "there", local_files_only=True)
    assert cached.fingerprint == first


def test_weights_that_were_never_fetched_are_said_to_be_missing_from_the_cache(hub: FakeHub) -> None:
    hf_hub_download("someone/vit", "config.json")
    checkpoint = open_checkpoint("someone/vit", local_files_only=True)
    with pytest.raises(CheckpointError, match=r"someone/vit: .*model\.safetensors"):
        _ = checkpoint.fingerprint


def test_a_shard_that_was_never_fetched_is_not_fetched_either(hub: FakeHub) -> None:
    files = hub.repositories["someone/vit"].revisions["main"]
    files["shard.safetensors"] = files.pop("model.safetensors")
    files["model.safetensors.index.json"] = b'{"weight_map": {"embeddings.cls_token": "shard.safetensors"}}'
    for filename in ("config.json", "model.safetensors.index.json"):
        hf_hub_download("someone/vit", filename)
    hub.requests.clear()
    checkpoint = open_checkpoint("someone/vit", local_files_only=True)
    with pytest.raises(CheckpointError, match=r"someone/vit: shard\.safetensors can't be downloaded"):
        _ = checkpoint.fingerprint
    assert hub.requests == []


def test_files_that_somebody_else_fetched_are_not_fetched_again(hub: FakeHub) -> None:
    for filename in ("config.json", "model.safetensors"):
        hf_hub_download("someone/vit", filename)
    hub.requests.clear()
    assert open_checkpoint("someone/vit").fingerprint
    assert not [request for request in hub.requests if request.startswith("GET /someone")]
