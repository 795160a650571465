"""What the package says under its name in Python's logging."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from clip_image_encoder import ImageEncoder, Output
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import ToyBackend

PICTURES = np.zeros((6, 32, 32, 3), np.uint8)


class SmallDevice(ToyBackend):
    """Has memory for so few images."""

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        if len(pixels) > 2:
            raise MemoryError
        return super().__call__(pixels, output=output, device=device)


class BrokenDevice(ToyBackend):
    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        raise RuntimeError("it fell off")


def messages(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int, str]]:
    return [(name, level, text) for name, level, text in caplog.record_tuples if name.startswith("clip_image_encoder")]


def test_what_was_loaded_and_how_long_it_took_is_information(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "clip_image_encoder"):
        ImageEncoder("tiny-shapes", device="cpu")
    ((_, level, text),) = messages(caplog)
    assert level == logging.INFO
    assert "tiny_shapes" in text
    assert "on cpu, loaded in" in text


def test_a_batch_that_is_halved_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    ImageEncoder(backend=SmallDevice()).encode(PICTURES)
    assert [level for _, level, _ in messages(caplog)] == [logging.WARNING] * 2
    assert "out of memory with 6 images" in messages(caplog)[0][2]


def test_a_batch_that_fails_in_a_batcher_is_an_error_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    with (
        MicroBatcher(ImageEncoder(backend=BrokenDevice())) as batcher,
        pytest.raises(Exception, match="it fell off"),
    ):
        batcher.encode(PICTURES[0])
    ((name, level, _),) = messages(caplog)
    assert (name, level) == ("clip_image_encoder.serving", logging.ERROR)
    assert "it fell off" in caplog.text
    assert "Traceback" in caplog.text


def test_nothing_is_said_where_nothing_is_asked(capfd: pytest.CaptureFixture[str]) -> None:
    ImageEncoder("tiny-shapes", device="cpu").encode(PICTURES)
    assert capfd.readouterr() == ("", "")
