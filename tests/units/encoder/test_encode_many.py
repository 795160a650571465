"""`encode`: what goes in, and the shape and order of what comes out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder


def test_one_image_becomes_one_axis(toy: ImageEncoder, noise: Image.Image) -> None:
    assert toy.encode(noise).shape == (toy.dimension,)


def test_a_list_of_one_image_keeps_two_axes(toy: ImageEncoder, noise: Image.Image) -> None:
    assert toy.encode([noise]).shape == (1, toy.dimension)


@pytest.mark.parametrize("nothing", [[], (), iter(()), np.empty((0, 8, 8, 3), np.uint8)], ids=repr)
def test_no_images_become_no_rows(toy: ImageEncoder, nothing: Iterable[object]) -> None:
    vectors = toy.encode(nothing)  # type: ignore[arg-type]  # an iterator of nothing has no type of image
    assert (vectors.shape, vectors.dtype.name) == ((0, toy.dimension), "float32")


def test_vectors_are_unit_float32_rows_in_c_order(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    vectors = toy.encode(photos)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_without_normalize_the_models_own_numbers_come(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    raw = toy.encode(photos, normalize=False)
    assert not np.allclose(np.linalg.norm(raw, axis=1), 1, atol=1e-2)
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, toy.encode(photos), atol=1e-6)


def test_rows_are_in_the_order_of_the_images(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    alone = np.stack([toy.encode(photo) for photo in photos])
    np.testing.assert_allclose(toy.encode(photos, batch_size=4), alone, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 3, 11, 64, np.int64(5)], ids=str)
def test_the_batch_size_changes_no_vector(toy: ImageEncoder, photos: list[Image.Image], batch_size: int) -> None:
    np.testing.assert_allclose(toy.encode(photos, batch_size), toy.encode(photos), atol=1e-6)


@pytest.mark.parametrize("num_workers", [0, 1, 5])
def test_the_number_of_workers_changes_no_vector(
    toy: ImageEncoder, photos: list[Image.Image], num_workers: int
) -> None:
    other = ImageEncoder(backend=toy.backend, num_workers=num_workers)
    np.testing.assert_array_equal(other.encode(photos, batch_size=3), toy.encode(photos, batch_size=3))


def test_tuples_generators_and_arrays_of_four_axes_are_many_images(
    toy: ImageEncoder, photos: list[Image.Image]
) -> None:
    same_size = [photo.resize((48, 32)) for photo in photos]
    expected = toy.encode(same_size)
    stacked = np.stack([np.asarray(photo) for photo in same_size])
    for images in (tuple(same_size), (photo for photo in same_size), stacked, stacked.transpose(0, 3, 1, 2)):
        np.testing.assert_array_equal(toy.encode(images), expected)


def test_a_column_of_paths_is_many_images(toy: ImageEncoder, photo_paths: list[Path]) -> None:
    column = np.array([str(path) for path in photo_paths])
    np.testing.assert_array_equal(toy.encode(column), toy.encode(photo_paths))


def test_an_endless_iterable_is_not_drawn_further_than_needed(toy: ImageEncoder, noise: Image.Image) -> None:
    drawn = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal drawn
        while True:
            drawn += 1
            yield noise

    stream = toy.stream(endless(), batch_size=4)
    next(stream)
    stream.close()
    assert drawn <= 12


@pytest.mark.parametrize("images", [None, 3, 2.5, object()], ids=repr)
def test_what_is_no_image_and_no_iterable_is_refused(toy: ImageEncoder, images: object) -> None:
    with pytest.raises(ConfigurationError, match="one image or an iterable"):
        toy.encode(images)  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [{"a.png": 1}, {"a.png"}], ids=repr)
def test_collections_without_an_order_of_images_are_refused(toy: ImageEncoder, images: object) -> None:
    with pytest.raises(ConfigurationError, match="pass a list"):
        toy.encode(images)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "32"], ids=repr)
def test_a_batch_size_that_is_no_positive_integer_is_refused(toy: ImageEncoder, batch_size: object) -> None:
    with pytest.raises(ConfigurationError, match="batch_size"):
        toy.encode([], batch_size=batch_size)  # type: ignore[arg-type]


def test_an_unknown_device_is_refused_with_a_list_of_those_there(toy: ImageEncoder) -> None:
    with pytest.raises(ConfigurationError, match="no device 'tpu' here; available: cpu"):
        toy.encode([], device="tpu")


def test_an_unknown_on_error_is_refused(toy: ImageEncoder) -> None:
    with pytest.raises(ConfigurationError, match="on_error"):
        toy.encode([], on_error="skip")  # type: ignore[arg-type]


def test_several_devices_share_the_work_and_keep_the_order(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    both = toy.encode(photos, batch_size=2, device=["cpu", "cpu"])
    np.testing.assert_array_equal(both, toy.encode(photos, batch_size=2))
