"""The variables that transformers honours, in a process that starts with them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clip_image_encoder.checkpoint import open_checkpoint

from .fake_hub import FakeHub

PROGRAM = """
import logging, sys
logging.basicConfig(level=logging.WARNING)
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import CheckpointError
try:
    print(open_checkpoint("someone/vit").fingerprint)
except CheckpointError as error:
    sys.exit(f"CheckpointError: {error}")
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(hub: FakeHub, tmp_path: Path) -> Run:
    """Opens "someone/vit" in a new process, with more variables."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "TRANSFORMERS"))}

    def in_a_new_process(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **kept,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1",
            **variables,
        }
        command = [sys.executable, "-W", "always", "-c", PROGRAM]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return in_a_new_process


def test_hf_home_is_where_files_are_kept_and_found(run: Run, hub: FakeHub, saved: Path, tmp_path: Path) -> None:
    first = run()
    assert (first.stdout.strip(), first.stderr) == (open_checkpoint(saved).fingerprint, "")
    assert (tmp_path / "home" / "hub" / "models--someone--vit").is_dir()
    hub.close()
    second = run()
    assert (second.stdout, second.stderr) == (first.stdout, "")


def test_hf_hub_cache_is_honoured(run: Run, tmp_path: Path) -> None:
    assert run(HF_HUB_CACHE=str(tmp_path / "cache")).returncode == 0
    assert (tmp_path / "cache" / "models--someone--vit").is_dir()
    assert not (tmp_path / "home" / "hub").exists()


def test_hf_token_is_sent(run: Run, hub: FakeHub) -> None:
    hub.repositories["someone/vit"].private_to = "my-token"
    assert run(HF_TOKEN="my-token").returncode == 0  # noqa: S106 - made up


def test_hf_hub_offline_asks_nobody(run: Run, hub: FakeHub) -> None:
    first = run()
    hub.requests.clear()
    second = run(HF_HUB_OFFLINE="1")
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert hub.requests == []


def test_offline_with_an_empty_cache_is_one_quiet_error(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    done = run(HF_HUB_OFFLINE="1")
    cache = tmp_path / "home" / "hub"
    assert done.stderr.startswith(f"CheckpointError: someone/vit is not in the cache ({cache})")
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert done.stderr.count("\n") == 1
    assert hub.requests == []


def test_no_network_and_an_empty_cache_is_one_quiet_error(run: Run, hub: FakeHub) -> None:
    hub.close()
    done = run()
    assert done.stderr.startswith("CheckpointError: someone/vit is not in the cache")
    assert done.stderr.count("\n") == 1
