"""Arrays and tensors: axes, values, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder.errors import ImageError, UnsupportedImageError
from clip_image_encoder.images import ImageLoader

LOADER = ImageLoader()

dtypes: Any = st.one_of(
    numpy_strategies.integer_dtypes(endianness="?"),
    numpy_strategies.unsigned_integer_dtypes(endianness="?"),
    numpy_strategies.floating_dtypes(endianness="?"),
    numpy_strategies.boolean_dtypes(),
    numpy_strategies.complex_number_dtypes(),
    numpy_strategies.byte_string_dtypes(),
    numpy_strategies.datetime64_dtypes(),
    st.just(np.dtype(object)),
)


def grey(*rows: list[float], dtype: Any) -> list[list[int]]:
    result: list[list[int]] = np.asarray(LOADER(np.array(rows, dtype=dtype)))[:, :, 0].tolist()
    return result


@settings(max_examples=300, deadline=None)
@given(data=st.data(), channels=st.sampled_from([None, "first", "last"]))
def test_any_array_is_an_rgb_image_or_an_image_error_and_stays_unchanged(data: st.DataObject, channels: Any) -> None:
    dtype = data.draw(dtypes)
    shape = data.draw(numpy_strategies.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9))
    elements = st.integers(0, 255) if dtype == np.dtype(object) else None
    array: NDArray[Any] = data.draw(numpy_strategies.arrays(dtype, shape, elements=elements))
    before = array.copy()
    array.flags.writeable = False
    try:
        image = ImageLoader(channels=channels)(array)
    except ImageError as error:
        assert len(str(error)) < 300
    else:
        assert image.mode == "RGB"
        assert image.width * image.height > 0
        assert {image.width, image.height} <= set(shape)
    np.testing.assert_array_equal(array, before)


@settings(max_examples=100, deadline=None)
@given(
    array=numpy_strategies.arrays(
        np.uint8, st.tuples(st.integers(5, 30), st.integers(5, 30), st.sampled_from([1, 2, 3, 4]))
    )
)
def test_any_uint8_array_is_what_pillow_makes_of_it_in_either_layout(array: NDArray[np.uint8]) -> None:
    modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
    pil = Image.frombytes(modes[array.shape[2]], (array.shape[1], array.shape[0]), array.tobytes())
    expected = LOADER(pil).tobytes()
    assert LOADER(array).tobytes() == expected
    assert LOADER(array.transpose(2, 0, 1)).tobytes() == expected
    assert LOADER(torch.tensor(array)).tobytes() == expected


def test_two_axes_are_grey() -> None:
    assert grey([0, 100, 255], dtype=np.uint8) == [[0, 100, 255]]


@pytest.mark.parametrize("shape", [(3, 9, 3), (1, 5, 4), (2, 2, 2), (4, 7, 1)])
def test_a_shape_with_two_readings_is_refused_unless_channels_says_which(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with pytest.raises(UnsupportedImageError, match="channels="):
        LOADER(array)
    assert ImageLoader(channels="first")(array).size == (shape[2], shape[1])
    assert ImageLoader(channels="last")(array).size == (shape[1], shape[0])


def test_with_channels_set_a_shape_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="first axis"):
        ImageLoader(channels="first")(np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(UnsupportedImageError, match="last axis"):
        ImageLoader(channels="last")(np.zeros((3, 8, 9), np.uint8))


@pytest.mark.parametrize("shape", [(), (5,), (5, 6, 7), (1, 5, 6, 3), (0, 5), (5, 0, 3), (3, 0, 5), (5, 6, 0)])
def test_shapes_that_are_no_image_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedImageError):
        LOADER(np.zeros(shape, np.uint8))


def test_any_uint8_values_are_an_image_black_too() -> None:
    assert grey([0, 0], dtype=np.uint8) == [[0, 0]]
    assert grey([0, 1], dtype=np.uint8) == [[0, 1]]


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64, np.uint32, np.uint64])
def test_wider_integers_up_to_255_are_8_bit_values(dtype: Any) -> None:
    assert grey([0, 2, 255], dtype=dtype) == [[0, 2, 255]]
    assert grey([0, 0, 0], dtype=dtype) == [[0, 0, 0]]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.uint32, np.uint64])
def test_integer_masks_of_0_and_1_are_refused(dtype: Any) -> None:
    with pytest.raises(UnsupportedImageError, match="multiply it by 255"):
        LOADER(np.array([[0, 1]], dtype=dtype))


def test_boolean_masks_are_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="multiply it by 255"):
        LOADER(np.zeros((5, 5), bool))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_negative_integers_are_refused(dtype: Any) -> None:
    with pytest.raises(UnsupportedImageError, match="negative"):
        LOADER(np.array([[-1, 100]], dtype=dtype))


def test_integers_beyond_31_bits_are_refused() -> None:
    with pytest.raises(UnsupportedImageError, match="scale it"):
        LOADER(np.array([[2**31]], dtype=np.uint64))


def test_floats_are_scaled_from_0_to_1() -> None:
    assert grey([0, 0.25, 0.5, 1], dtype=np.float32) == [[0, 64, 128, 255]]


def test_a_hair_of_overshoot_is_clipped() -> None:
    assert grey([-0.0019, 1.0019], dtype=np.float64) == [[0, 255]]


@pytest.mark.parametrize(
    ("values", "advice"),
    [
        ([0, 255], "divide by 255"),
        ([0, 1.003], "divide by"),
        ([0, 65535], "divide by"),
        ([-1.8, 2.1], "undo the normalization"),
        ([-0.003, 1], "undo the normalization"),
        ([0, np.nan], "NaN"),
        ([0, np.inf], "infinite"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_in_another_range_are_refused_with_what_to_do(values: list[float], advice: str, dtype: Any) -> None:
    with pytest.raises(UnsupportedImageError, match=advice):
        LOADER(np.array([values], dtype=dtype))


@pytest.mark.parametrize("array", [np.zeros((5, 5), complex), np.zeros((5, 5), object), np.full((5, 5), "a")])
def test_other_dtypes_are_refused(array: NDArray[Any]) -> None:
    with pytest.raises(UnsupportedImageError, match="integers or floats"):
        LOADER(array)


def test_what_fails_to_become_an_array_is_an_image_error() -> None:
    class Broken:
        def __array__(self) -> NDArray[Any]:
            raise RuntimeError("no")

    for item in (Broken(), torch.zeros((5, 5, 3), device="meta"), torch.zeros((5, 5)).to_sparse()):
        with pytest.raises(UnsupportedImageError, match="can't be turned into"):
            LOADER(item)


def test_an_array_that_only_claims_to_be_big_is_refused_before_it_is_made() -> None:
    with pytest.raises(ImageError, match="max_pixels"):
        LOADER(np.broadcast_to(np.zeros((1, 1, 3)), (10**6, 10**6, 3)))
