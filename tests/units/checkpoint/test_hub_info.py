"""clip-image-encoder info of a model on the hub: its configs are fetched, its weights are not."""

from __future__ import annotations

import json

import pytest

from clip_image_encoder.__main__ import main
from clip_image_encoder.checkpoint import open_checkpoint

from .fake_hub import FakeHub


def weights(capsys: pytest.CaptureFixture[str], *options: str) -> object:
    """Return what is told of the weights."""
    assert main(["info", "someone/vit", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)["weights"]


def test_the_weights_are_not_fetched(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights(capsys) == [{"name": "model.safetensors", "size": None, "dtypes": []}]
    assert not any("model.safetensors" in request for request in hub.requests)


def test_weights_that_were_fetched_before_have_their_size(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    size = open_checkpoint("someone/vit").files.path("model.safetensors").stat().st_size
    assert weights(capsys) == [{"name": "model.safetensors", "size": size, "dtypes": ["float32"]}]


def test_the_fingerprint_fetches_them(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    weights(capsys, "--fingerprint")
    assert any("model.safetensors" in request for request in hub.requests)


def test_local_files_only_tells_what_the_cache_lacks(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    main(["info", "someone/vit"])
    asked = len(hub.requests)
    capsys.readouterr()
    assert main(["info", "someone/vit", "--local-files-only"]) == 1
    assert "missing: no weights; model.safetensors is missing" in capsys.readouterr().out
    assert len(hub.requests) == asked


def test_a_revision_is_the_one_that_is_asked_for(hub: FakeHub, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "someone/vit", "--revision", "nosuch"]) == 1
    assert capsys.readouterr().err == "error: someone/vit: no revision 'nosuch' on the hub\n"
