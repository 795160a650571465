"""OpenVINO's core: loading its plugins takes milliseconds, so that a process has one, and asks it for devices once."""

from __future__ import annotations

import numpy as np
import openvino
import pytest

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.backends import openvino as ours

PICTURE = np.zeros((64, 64, 3), np.uint8)


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each core that is made, and for each time that one is asked for the devices."""
    events: list[str] = []

    class Core(openvino.Core):  # type: ignore[misc]  # which has no types
        def __init__(self) -> None:
            events.append("made")
            super().__init__()

        @property
        def available_devices(self) -> list[str]:
            events.append("asked")
            devices: list[str] = super().available_devices
            return devices

    monkeypatch.setattr(openvino, "Core", Core)
    monkeypatch.setattr(ours, "_CORE", ours._Core())
    return events


def test_a_process_has_one_core(cores: list[str]) -> None:
    ImageEncoder("tiny-shapes", backend="openvino").encode(PICTURE)
    TextEncoder("tiny-shapes", backend="openvino").encode("a red circle")
    assert ours.devices()[0] == "cpu"
    assert cores.count("made") == 1


def test_a_loaded_backend_does_not_ask_for_the_devices_again(cores: list[str]) -> None:
    images, texts = ImageEncoder("tiny-shapes", backend="openvino"), TextEncoder("tiny-shapes", backend="openvino")
    cores.clear()
    for _ in range(2):
        images.encode([PICTURE, PICTURE], device="cpu")
        texts.encode("a red circle")
    assert cores == []
