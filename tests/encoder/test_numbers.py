"""Numbers of things: one rule for all of them, and how many threads there are by default."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader
from clip_image_encoder._arguments import quota_of
from clip_image_encoder.cache import DiskCache, MemoryCache
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import ToyBackend


def close(batcher: MicroBatcher[Any]) -> None:
    batcher.close()


# Each takes a number of things from 1 on, under this name.
TAKERS: dict[str, Callable[[Any], object]] = {
    "batch_size": lambda number: ImageEncoder(backend=ToyBackend()).encode([], batch_size=number),
    "max_batch_size": lambda number: close(MicroBatcher(ImageEncoder(backend=ToyBackend()), max_batch_size=number)),
    "max_queue": lambda number: close(MicroBatcher(ImageEncoder(backend=ToyBackend()), max_queue=number)),
    "max_bytes": MemoryCache,
    "max_pixels": lambda number: ImageLoader(max_pixels=number),
    "num_workers": lambda number: ImageEncoder(backend=ToyBackend(), num_workers=number),
}


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize("number", [1, np.int64(2), np.uint8(3)], ids=repr)
def test_integers_of_python_and_numpy_are_numbers_of_things(name: str, number: object) -> None:
    TAKERS[name](number)


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize(
    "wrong", [-1, 2.5, 2.0, True, "5", "5" * 10_000, np.ones(1000)], ids=lambda wrong: repr(wrong)[:9]
)
def test_anything_else_is_refused_in_a_short_sentence(name: str, wrong: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be .* integer") as caught:
        TAKERS[name](wrong)
    assert len(str(caught.value)) < 120


def test_a_disk_cache_has_the_same_rule(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="max_bytes"):
        DiskCache(tmp_path / "vectors.sqlite", max_bytes=2.5)  # type: ignore[arg-type]
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({"": "max 100000"}, math.inf),
        ({"": "150000 100000"}, 1.5),
        ({"pods/one": "max 100000", "pods": "400000 100000"}, 4),
        ({"pods/one": "50000 100000", "pods": "400000 100000"}, 0.5),
        ({}, math.inf),
    ],
)
def test_a_containers_quota_is_the_least_of_its_groups(tmp_path: Path, limits: dict[str, str], cores: float) -> None:
    (tmp_path / "pods/one").mkdir(parents=True)
    for group, limit in limits.items():
        (tmp_path / group / "cpu.max").write_text(limit + "\n")
    assert quota_of(tmp_path / "pods/one") == cores


def test_an_encoder_has_no_more_threads_than_its_containers_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_image_encoder._arguments._quota", lambda: 0.5)
    assert ImageEncoder(backend=ToyBackend())._num_workers == 1
