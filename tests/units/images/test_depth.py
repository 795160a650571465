"""Any depth becomes 8 bits by the documented rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images import ImageLoader

LOADER = ImageLoader()
SIXTEEN_BITS = np.arange(65536, dtype=np.uint16).reshape(256, 256)
EIGHT_BITS = np.rint(np.arange(65536) / 257).astype(np.uint8).reshape(256, 256)


def grey(image: Image.Image | np.ndarray[Any, Any] | bytes) -> np.ndarray[Any, Any]:
    return np.asarray(LOADER(image))[:, :, 1]


def of_mode(mode: str, *values: float) -> Image.Image:
    image = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    return image


@pytest.mark.parametrize("format_name", ["PNG", "PPM", "TIFF", "JPEG2000"])
def test_16_bit_files_are_scaled_by_257_and_rounded(encode: Callable[..., bytes], format_name: str) -> None:
    np.testing.assert_array_equal(grey(encode(Image.fromarray(SIXTEEN_BITS), format_name)), EIGHT_BITS)


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I;16N"])
def test_16_bit_modes_are_scaled_by_257_and_rounded(mode: str) -> None:
    byte_order = {"I;16B": ">u2", "I;16N": "=u2"}.get(mode, "<u2")
    image = Image.frombytes(mode, (256, 256), SIXTEEN_BITS.astype(byte_order).tobytes())
    np.testing.assert_array_equal(grey(image), EIGHT_BITS)


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_uint16_arrays_are_scaled_by_257_and_rounded(dtype: str) -> None:
    np.testing.assert_array_equal(grey(SIXTEEN_BITS.astype(dtype)), EIGHT_BITS)


@pytest.mark.parametrize("byte_order", ["<u2", ">u2"])
def test_a_dark_16_bit_image_stays_dark(byte_order: str) -> None:
    assert grey(np.array([[0, 200, 255]], byte_order)).tolist() == [[0, 1, 1]]
    assert grey(of_mode("I;16" if byte_order == "<u2" else "I;16B", 0, 200, 255)).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 0), [0, 0]),
        ((0, 2, 255), [0, 2, 255]),
        ((0, 128, 129, 256), [0, 0, 1, 1]),
        ((0, 65535), [0, 255]),
        ((0, 65536), [0, 0]),
        ((0, 2**30, 2**31 - 1), [0, 128, 255]),
    ],
)
def test_the_white_of_32_bit_integers_is_the_smallest_that_fits(values: tuple[int, ...], expected: list[int]) -> None:
    assert grey(of_mode("I", *values)).tolist() == [expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0, 0), [0, 0]),
        ((0, 0.5, 1), [0, 128, 255]),
        ((0, 1.0019), [0, 255]),
        ((0, 1.01, 255), [0, 1, 255]),
        ((0, 100, 200), [0, 100, 200]),
        ((0, 257, 65535), [0, 1, 255]),
    ],
)
def test_the_white_of_float_files_is_the_smallest_that_fits(values: tuple[float, ...], expected: list[int]) -> None:
    assert grey(of_mode("F", *values)).tolist() == [expected]


@pytest.mark.parametrize(
    ("mode", "values"),
    [
        ("I", (-1, 5)),
        ("I", (0, 1)),
        ("F", (-0.5, 5)),
        ("F", (0, 70000)),
        ("F", (0, float("nan"))),
        ("F", (0, float("inf"))),
    ],
)
def test_values_that_are_no_image_are_refused(mode: str, values: tuple[float, ...]) -> None:
    with pytest.raises(UnsupportedImageError, match=r"PIL image \((I|F) 2x1\): "):
        LOADER(of_mode(mode, *values))


@pytest.mark.parametrize(
    ("mode", "values", "expected"), [("I", (0, 1000, 65535), [0, 4, 255]), ("F", (0, 0.5, 1), [0, 128, 255])]
)
def test_32_bit_tiffs_are_scaled_too(
    encode: Callable[..., bytes], mode: str, values: tuple[float, ...], expected: list[int]
) -> None:
    assert grey(encode(of_mode(mode, *values), "TIFF")).tolist() == [expected]


def test_a_float_pfm_is_scaled_too(encode: Callable[..., bytes]) -> None:
    assert grey(encode(of_mode("F", 0, 0.5, 1), "PPM")).tolist() == [[0, 128, 255]]


@settings(max_examples=100, deadline=None)
@given(values=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=8))
def test_an_integer_pil_image_and_its_array_are_the_same_image_or_both_refused(values: list[int]) -> None:
    image = of_mode("I", *values)

    def load(item: Any) -> bytes | str:
        try:
            return LOADER(item).tobytes()
        except UnsupportedImageError as error:
            return error.reason

    assert load(image) == load(np.asarray(image))


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=8, unique=True).filter(lambda drawn: max(drawn) > 1)
)
def test_scaling_keeps_the_order_of_integers(values: list[int]) -> None:
    scaled = grey(of_mode("I", *sorted(values)))[0].tolist()
    assert scaled == sorted(scaled)
