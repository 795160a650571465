"""What the hub refuses, and what is said then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from socket import create_server
from threading import Thread

import huggingface_hub.constants
import pytest

from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.checkpoint.transformers import FORMAT
from clip_image_encoder.errors import CheckpointError

from .fake_hub import FakeHub


@pytest.fixture
def hub_that_hangs_up(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Puts a server that closes each connection in the hub's place; yields a list of those connections."""
    connections: list[str] = []
    listener = create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        while True:
            try:
                connection, address = listener.accept()
            except OSError:
                return
            connections.append(str(address))
            connection.close()

    thread = Thread(target=hang_up, daemon=True)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}")
    yield connections
    listener.shutdown(2)
    listener.close()
    thread.join()


def test_a_repository_that_is_not_there_is_said_to_be_missing(hub: FakeHub) -> None:
    with pytest.raises(CheckpointError, match=r"someone/else: no such repository on the hub, nor such a folder"):
        open_checkpoint("someone/else")


def test_a_private_repository_asks_for_a_token(hub: FakeHub) -> None:
    hub.repositories["someone/vit"].private_to = "my-token"
    with pytest.raises(CheckpointError, match=r"someone/vit: no such repository .*if it is private, pass token="):
        open_checkpoint("someone/vit")


def test_a_token_for_something_else_does_not_open_a_private_repository(hub: FakeHub) -> None:
    hub.repositories["someone/vit"].private_to = "my-token"
    with pytest.raises(CheckpointError, match="if it is private, pass token="):
        open_checkpoint("someone/vit", token="your-token")  # noqa: S106 - made up


def test_a_token_that_is_none_is_refused_as_such(hub: FakeHub) -> None:
    with pytest.raises(CheckpointError, match=r"someone/vit: the hub refuses access; check token=, HF_TOKEN"):
        open_checkpoint("someone/vit", token="not-a-token")  # noqa: S106 - made up


def test_no_message_holds_the_token(hub: FakeHub) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("someone/else", token="my-token")  # noqa: S106 - made up
    assert "my-token" not in str(caught.value)


@pytest.mark.parametrize("token", [None, "your-token"])
def test_a_gated_repository_is_said_to_be_gated(hub: FakeHub, token: str | None) -> None:
    hub.repositories["someone/vit"].gated_to = "my-token"
    with pytest.raises(CheckpointError, match=r"someone/vit: access is gated; accept its terms.*token="):
        open_checkpoint("someone/vit", token=token)


def test_a_gated_repository_opens_to_who_accepted_its_terms(hub: FakeHub) -> None:
    hub.repositories["someone/vit"].gated_to = "my-token"
    assert open_checkpoint("someone/vit", token="my-token").fingerprint  # noqa: S106 - made up


@pytest.mark.parametrize("revision", ["no-such-branch", "0" * 40])
def test_a_revision_that_is_not_there_is_named(hub: FakeHub, revision: str) -> None:
    with pytest.raises(CheckpointError, match=f"someone/vit: no revision '{revision}' on the hub"):
        open_checkpoint("someone/vit", revision=revision)


def test_a_repository_without_config_is_no_checkpoint(hub: FakeHub) -> None:
    del hub.repositories["someone/vit"].revisions["main"]["config.json"]
    with pytest.raises(CheckpointError, match=r"vit: is not a checkpoint; it has none of .*config\.json, modules"):
        open_checkpoint("someone/vit")


def test_a_repository_with_nothing_but_a_pickle_is_refused_before_it_is_fetched(hub: FakeHub, saved: Path) -> None:
    config = (saved / "config.json").read_bytes()
    hub.repositories["someone/vit"].revisions["main"] = {"config.json": config, "pytorch_model.bin": b"pickle"}
    checkpoint = open_checkpoint("someone/vit")
    with pytest.raises(CheckpointError, match=r"pickle only \(pytorch_model\.bin\)"):
        FORMAT.weight_files(checkpoint.files)
    assert not any("pytorch_model.bin" in request for request in hub.requests)


@pytest.mark.parametrize(("author", "status"), [("a-stranger", "open"), ("SFconvertbot", "closed")])
def test_only_an_open_conversion_by_the_hubs_own_bot_is_read(
    hub: FakeHub, saved: Path, author: str, status: str
) -> None:
    repository = hub.publish("someone/vit", saved, revision="refs/pr/1")
    repository.revisions["main"] = {"config.json": (saved / "config.json").read_bytes(), "pytorch_model.bin": b"pickle"}
    repository.conversion_by, repository.conversion_status = author, status
    with pytest.raises(CheckpointError, match="pickle only"):
        FORMAT.weight_files(open_checkpoint("someone/vit").files)


def test_a_revision_that_is_asked_for_is_not_replaced_by_a_conversion(hub: FakeHub, saved: Path) -> None:
    repository = hub.publish("someone/vit", saved, revision="refs/pr/1")
    repository.revisions["main"] = {"config.json": (saved / "config.json").read_bytes(), "pytorch_model.bin": b"pickle"}
    with pytest.raises(CheckpointError, match="pickle only"):
        FORMAT.weight_files(open_checkpoint("someone/vit", revision="main").files)


def test_a_hub_out_of_reach_is_tried_once_and_the_error_says_what_to_do(hub_that_hangs_up: list[str]) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint("someone/vit")
    message = str(caught.value)
    assert "someone/vit is not in the cache" in message
    assert "the hub can't be reached" in message
    assert "pass its folder" in message
    assert "'tiny-shapes'" in message
    assert len(hub_that_hangs_up) == 1


def test_a_hub_that_refuses_connections_is_an_error_that_says_what_to_do(hub: FakeHub) -> None:
    hub.close()
    with pytest.raises(CheckpointError, match=r"someone/vit is not in the cache .* the hub can't be reached"):
        open_checkpoint("someone/vit")
    assert hub.requests == []


def test_a_page_that_is_not_the_hubs_is_like_no_hub(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeHub, "_api", lambda *_: b"<html>Please accept the terms of this hotel's network</html>")
    with pytest.raises(CheckpointError, match=r"someone/vit is not in the cache .* the hub can't be reached"):
        open_checkpoint("someone/vit")
