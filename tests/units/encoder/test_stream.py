"""`stream`: the same vectors in bounded memory, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder


def _own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("clip_image_encoder")]


def test_batches_join_to_what_encode_gives(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    batches = list(toy.stream(iter(photos), batch_size=4))
    assert [batch.start for batch in batches] == [0, 4, 8]
    np.testing.assert_array_equal(
        np.concatenate([batch.embeddings for batch in batches]), toy.encode(photos, batch_size=4)
    )


def test_wrong_arguments_raise_at_the_call(toy: ImageEncoder) -> None:
    with pytest.raises(ConfigurationError):
        toy.stream([], batch_size=0)


def test_an_error_of_the_source_comes_after_the_rows_before_it(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    trouble = LookupError("the database went away")

    def source() -> Iterator[Image.Image]:
        yield from photos[:5]
        raise trouble

    rows: list[int] = []
    with pytest.raises(LookupError) as caught:
        rows.extend(len(batch.embeddings) for batch in toy.stream(source(), batch_size=2))
    assert caught.value is trouble
    assert rows == [2, 2, 1]


def test_an_abandoned_stream_stops_drawing_and_leaves_no_thread(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    drawn: list[Image.Image] = []

    def source() -> Iterator[Image.Image]:
        for photo in photos * 100:
            drawn.append(photo)
            yield photo

    stream = ImageEncoder(backend=toy.backend, num_workers=3).stream(source(), batch_size=2)
    next(stream)
    assert _own_threads()
    stream.close()
    assert not _own_threads()
    assert len(drawn) < 20


def test_without_workers_nothing_is_drawn_ahead(toy: ImageEncoder, noise: Image.Image) -> None:
    """As a camera wants it: each batch is of images that were there when it was asked for."""
    drawn = 0

    def camera() -> Iterator[Image.Image]:
        nonlocal drawn
        while True:
            drawn += 1
            yield noise

    stream = ImageEncoder(backend=toy.backend, num_workers=0).stream(camera(), batch_size=2)
    for batches in (1, 2, 3):
        next(stream)
        assert drawn == 2 * batches


@pytest.mark.parametrize("batch_size", [1, 4])
def test_with_workers_two_batches_are_drawn_ahead_and_no_more(
    toy: ImageEncoder, noise: Image.Image, batch_size: int
) -> None:
    drawn = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal drawn
        while True:
            drawn += 1
            yield noise

    stream = ImageEncoder(backend=toy.backend, num_workers=2).stream(endless(), batch_size=batch_size)
    next(stream)
    stream.close()
    assert drawn == 3 * batch_size - 1


def test_a_finished_encode_leaves_no_thread(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    toy.encode(photos, device=["cpu", "cpu"])
    assert not _own_threads()


def test_a_failed_encode_leaves_no_thread(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    with pytest.raises(FileNotFoundError):
        toy.encode([*photos, "missing.png"])
    assert not _own_threads()
