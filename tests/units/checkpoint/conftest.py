"""What the tests of checkpoints share: small ones on disk, and a hub to fetch them from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub.constants
import huggingface_hub.file_download
import pytest
import torch
from transformers import ViTConfig, ViTModel

from .fake_hub import FakeHub

_CONFIG = ViTConfig(
    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=8
)


@pytest.fixture(scope="session")
def save_vit(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Saves a small ViT whose weights depend on a seed, and returns its folder; not to be changed."""

    def save(seed: int) -> Path:
        folder = tmp_path_factory.mktemp(f"vit-{seed}-")
        model = ViTModel(_CONFIG, add_pooling_layer=False)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
        model.save_pretrained(folder)
        (folder / "preprocessor_config.json").write_text('{"size": {"height": 16, "width": 16}}')
        return folder

    return save


@pytest.fixture(scope="session")
def saved(save_vit: Callable[[int], Path]) -> Path:
    """A folder with a sound checkpoint; not to be changed."""
    return save_vit(0)


@pytest.fixture(scope="session")
def other(save_vit: Callable[[int], Path]) -> Path:
    """The same architecture with other weights; not to be changed."""
    return save_vit(1)


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy of the sound checkpoint, for a test to damage."""
    copy = tmp_path / "checkpoint"
    shutil.copytree(saved, copy)
    return copy


@pytest.fixture
def hub(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with the repository "someone/vit", which this process takes for the real one."""
    server = FakeHub()
    server.publish("someone/vit", saved)
    # huggingface_hub has read the environment by now.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    constants = huggingface_hub.constants
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
    for module in (constants, huggingface_hub.file_download):  # before version 1 the latter had a copy
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    yield server
    server.close()
