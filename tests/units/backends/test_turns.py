"""On Apple's GPU one thread computes at a time; on other devices any number."""

from __future__ import annotations

from threading import Thread
from typing import Any

import pytest
from torch import nn

from clip_image_encoder.backends._torch_towers import Towers


def may_enter(turn: Any) -> bool:
    """Tell whether another thread could start its turn now."""
    answers: list[bool] = []

    def attempt() -> None:
        is_free = not hasattr(turn, "acquire") or turn.acquire(blocking=False)
        answers.append(is_free)

    thread = Thread(target=attempt)
    thread.start()
    thread.join()
    return answers[0]


@pytest.mark.parametrize(("device", "expected"), [("mps", False), ("mps:0", False), ("cpu", True), ("cuda:1", True)])
def test_two_threads_compute_at_once_where_they_may(device: str, expected: bool) -> None:
    towers = Towers(lambda _device: nn.Identity())
    with towers.turn(device):
        assert may_enter(towers.turn(device)) is expected


def test_the_next_thread_has_its_turn_when_the_first_has_ended() -> None:
    towers = Towers(lambda _device: nn.Identity())
    with towers.turn("mps"):
        pass
    assert may_enter(towers.turn("mps"))
