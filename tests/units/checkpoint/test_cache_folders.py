"""Where the hub's files are kept: homes that are somebody else's, disks that are read-only, folders that move."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

import clip_image_encoder
from clip_image_encoder import ImageEncoder
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import CheckpointError

from .fake_hub import FakeHub


def deny(*arguments: object, **options: object) -> Any:
    raise PermissionError(13, "Permission denied", "/home/somebody/.cache/huggingface/hub")


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The current folder of a user whom the system doesn't know, as in a container that is run with --user."""
    pwd = pytest.importorskip("pwd")

    def unknown(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(constants, "HF_HOME", "~/.cache/huggingface")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "~/.cache/huggingface/hub")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("local_files_only", [False, True])
def test_a_cache_that_is_somebody_elses_is_answered_with_what_to_set(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, local_files_only: bool
) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", deny)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", deny)
    with pytest.raises(
        CheckpointError, match=r"someone/vit: the cache can't be used .*denied.*; set HF_HOME to a folder"
    ):
        open_checkpoint("someone/vit", local_files_only=local_files_only)


def test_a_cache_whose_parent_is_no_folder_is_answered_with_what_to_set(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "hub"))
    with pytest.raises(CheckpointError, match=r"the cache can't be used .*; set HF_HOME to a folder"):
        open_checkpoint("someone/vit")


@pytest.mark.parametrize("local_files_only", [False, True])
def test_a_user_without_home_is_told_what_to_set(hub: FakeHub, no_home: Path, local_files_only: bool) -> None:
    with pytest.raises(CheckpointError, match="this user has no home folder; set HF_HOME"):
        open_checkpoint("someone/vit", local_files_only=local_files_only)
    assert not (no_home / "~").exists()


def test_graphs_are_not_kept_in_a_folder_named_like_the_home_that_is_missing(no_home: Path) -> None:
    with pytest.raises(CheckpointError, match="this user has no home folder; set HF_HOME"):
        ImageEncoder("tiny-shapes", backend="onnx")
    assert not (no_home / "~").exists()


def test_a_cache_that_takes_no_new_commit_gives_the_one_it_has(
    hub: FakeHub, other: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = open_checkpoint("someone/vit").fingerprint
    hub.publish("someone/vit", other)
    # Nothing can be written where the new commit belongs, as on a disk that is read-only.
    snapshots = Path(constants.HF_HUB_CACHE) / "models--someone--vit" / "snapshots"
    (snapshots / hub.repositories["someone/vit"].commit("main")).touch()
    with caplog.at_level(logging.WARNING):
        assert open_checkpoint("someone/vit").fingerprint == before
    assert "is used, which is not the newest" in caplog.text


def test_a_cache_that_takes_nothing_and_has_nothing_is_an_error(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(CheckpointError, match="set HF_HOME"):
        open_checkpoint("someone/vit", cache_dir=tmp_path / "cache")


def test_a_relative_cache_is_pinned_to_where_it_was(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = open_checkpoint("someone/vit", cache_dir="here")
    monkeypatch.chdir("/")
    assert checkpoint.files.path("model.safetensors").is_relative_to(tmp_path / "here")


def test_a_cache_in_the_home_is_found_without_the_hub(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    first = open_checkpoint("someone/vit", cache_dir="~/mine").fingerprint
    assert open_checkpoint("someone/vit", cache_dir="~/mine", local_files_only=True).fingerprint == first


def test_the_bundled_checkpoint_is_not_looked_for_on_the_hub_when_the_package_is_in_an_archive(tmp_path: Path) -> None:
    package = Path(clip_image_encoder.__file__).parent
    archive = shutil.make_archive(str(tmp_path / "package"), "zip", package.parent, package.name)
    program = (
        "import clip_image_encoder.checkpoint as checkpoint\n"
        "from clip_image_encoder.errors import CheckpointError\n"
        "print(checkpoint.__file__)\n"
        "try:\n    checkpoint.open_checkpoint('tiny-shapes')\n"
        "except CheckpointError as error:\n    print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": archive, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    place, message = done.stdout.splitlines()
    assert place.startswith(archive)
    assert message.startswith("'tiny-shapes' can't be read out of an archive")
