"""Rules of the contract that hold for any mix of inputs, and not only for examples."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder, ImageError
from clip_image_encoder.testing import ToyBackend

ENCODER = ImageEncoder(backend=ToyBackend(), num_workers=2)

good = numpy_strategies.arrays(np.uint8, st.tuples(st.integers(5, 40), st.integers(5, 40), st.just(3)))
bad = st.sampled_from([b"", b"not an image", "missing.png", 7, None, np.zeros((0, 3)), np.full((9, 9, 3), np.nan)])
dtypes: Any = st.one_of(
    numpy_strategies.integer_dtypes(),
    numpy_strategies.unsigned_integer_dtypes(),
    numpy_strategies.floating_dtypes(sizes=(16, 32, 64)),
    numpy_strategies.boolean_dtypes(),
)
any_array = numpy_strategies.arrays(
    dtypes, numpy_strategies.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=24)
)


@settings(max_examples=60, deadline=None)
@given(images=st.lists(st.one_of(good, good, bad), max_size=12), batch_size=st.integers(1, 15))
def test_any_mix_keeps_order_and_alignment(images: list[Any], batch_size: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vectors = ENCODER.encode(images, batch_size=batch_size, on_error="nan")
    assert vectors.shape == (len(images), ENCODER.dimension)
    for row, image in zip(vectors, images, strict=True):
        if np.isnan(row).any():
            assert np.isnan(row).all()
            try:
                ENCODER.encode([image])
            except ImageError:
                continue
            raise AssertionError(f"{image!r} can be encoded alone")
        np.testing.assert_allclose(row, ENCODER.encode([image])[0], atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(images=st.lists(st.one_of(good, bad), max_size=12), batch_size=st.integers(1, 15))
def test_a_stream_tells_of_each_input_once(images: list[Any], batch_size: int) -> None:
    start = 0
    for batch in ENCODER.stream(images, batch_size=batch_size):
        assert batch.start == start
        failed = [failure.index for failure in batch.failures]
        rows = np.flatnonzero(np.isnan(batch.embeddings).any(axis=1)) + start
        assert failed == rows.tolist()
        start += len(batch.embeddings)
    assert start == len(images)


@settings(max_examples=200, deadline=None)
@given(array=any_array)
def test_any_array_is_a_unit_vector_or_an_image_error_and_stays_unchanged(array: NDArray[Any]) -> None:
    before = array.copy()
    try:
        vector = ENCODER.encode([array])[0]
    except ImageError as error:
        assert error.index == 0
        assert len(str(error)) < 300
    else:
        assert vector.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-6)
    np.testing.assert_array_equal(array, before)


@settings(max_examples=60, deadline=None)
@given(array=good)
def test_layout_and_scale_of_an_array_change_nothing(array: NDArray[np.uint8]) -> None:
    expected = ENCODER.encode([array])
    for same in (
        np.asfortranarray(array),
        array.transpose(2, 0, 1),
        array / 255,
        (array / np.float32(255)).transpose(2, 0, 1),
        array[::-1][::-1],
    ):
        np.testing.assert_array_equal(ENCODER.encode([same]), expected)
