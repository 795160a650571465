"""Queues of work on a CUDA device, with stand-ins for torch's: no GPU is needed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from threading import Barrier

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clip_image_encoder.backends import torch as torch_backend
from clip_image_encoder.backends._torch_streams import Streams
from clip_image_encoder.backends._torch_towers import Towers
from clip_image_encoder.backends._torch_vision import TorchVision

from .conftest import Saved


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The devices of the streams that are made."""
    devices: list[str] = []

    def make(device: str) -> object:
        devices.append(device)
        return object()

    monkeypatch.setattr(torch.cuda, "Stream", make)
    monkeypatch.setattr(torch.cuda, "stream", lambda _stream: nullcontext())
    return devices


def test_forty_calls_on_threads_of_their_own_share_two_streams(made: list[str]) -> None:
    streams = Streams()

    def call(_number: int) -> None:
        with streams.lent("cuda:0"):
            pass

    for number in range(20):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(call, (number, number)))
    assert made == ["cuda:0"] * 2


def test_two_calls_have_a_stream_each(made: list[str]) -> None:
    streams, both = Streams(), Barrier(2, timeout=600)

    def call(_number: int) -> None:
        with streams.lent("cuda:0"):
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(call, range(2)))
    assert made == ["cuda:0"] * 2


def test_each_device_has_its_own(made: list[str]) -> None:
    streams = Streams()
    with ExitStack() as held:
        for device in ("cuda:0", "cuda:1"):
            held.enter_context(streams.lent(device))
    assert sorted(made) == ["cuda:0", "cuda:0", "cuda:1", "cuda:1"]


def test_a_call_that_fails_gives_its_stream_back(made: list[str]) -> None:
    streams = Streams()
    for _ in range(3):
        with pytest.raises(RuntimeError, match="failed"), streams.lent("cuda:0"):
            raise RuntimeError("failed")
    assert len(made) == 2


def test_other_devices_have_none(made: list[str]) -> None:
    with Streams().lent("cpu"), Streams().lent("mps"):
        pass
    assert made == []


def test_encoders_of_one_process_share_a_devices_streams(
    made: list[str], clip: Saved, pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_backend, "lent_stream", Streams().lent)
    backends = [clip.backend() for _ in range(4)]
    monkeypatch.setattr(Towers, "on", lambda _towers, _device: None)
    monkeypatch.setattr(TorchVision, "features", lambda *_given, **_settings: np.ones((5, 2), np.float32))
    for backend in backends * 10:
        backend(pixels, output="pooled", device="cuda:0")
    assert made == ["cuda:0"] * 2
