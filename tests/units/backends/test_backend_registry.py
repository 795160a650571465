"""The folder of backends is the registry of backends."""

from __future__ import annotations

import sys

import pytest

import clip_image_encoder.backends
from clip_image_encoder.backends import available_backends, find_backend
from clip_image_encoder.backends.torch import load
from clip_image_encoder.errors import ConfigurationError, MissingExtraError


def test_files_are_backends_and_parts_are_not() -> None:
    names = available_backends()
    assert "torch" in names
    assert names == sorted(names)
    assert not [name for name in names if name.startswith("_")]


def test_a_backend_is_found_by_its_files_name() -> None:
    assert find_backend("torch") is load


@pytest.mark.parametrize("name", ["troch", "_torch_devices", "os", ""])
def test_a_typo_is_answered_with_what_there_is(name: str) -> None:
    with pytest.raises(ConfigurationError, match="'torch'") as caught:
        find_backend(name)
    assert not isinstance(caught.value, MissingExtraError)


def test_a_missing_package_is_answered_with_how_to_install_it(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("backends")
    (folder / "lightning.py").write_text("import a_package_that_nobody_has\n")
    monkeypatch.setattr(clip_image_encoder.backends, "__path__", [*clip_image_encoder.backends.__path__, str(folder)])
    with pytest.raises(MissingExtraError, match=r"a_package_that_nobody_has.*pip install 'clip-image-encoder\[light"):
        find_backend("lightning")
    assert "clip_image_encoder.backends.lightning" not in sys.modules
