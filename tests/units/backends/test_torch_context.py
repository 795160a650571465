"""What the application sets in torch around an encoder does not reach into it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clip_image_encoder.backends.torch import TorchBackend

from .conftest import Saved
from .families import normalize


@pytest.fixture
def default_device() -> Iterator[None]:
    """Tensors that name no device are made where there is no memory, as they would be on a GPU that is full."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def features(backend: TorchBackend, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    return [
        backend(batch, output=output, device="cpu")
        for batch in (pixels, normalize(pixels).numpy())
        for output in ("pooled", "tokens")
    ]


def test_a_default_device_changes_no_loading_and_no_feature(
    each: Saved, pixels: NDArray[np.uint8], request: pytest.FixtureRequest
) -> None:
    expected = features(each.backend(), pixels)
    normalized = normalize(pixels).numpy()
    request.getfixturevalue("default_device")
    backend = each.backend()
    for batch, pooled in ((pixels, expected[0]), (normalized, expected[2])):
        np.testing.assert_array_equal(backend(batch, output="pooled", device="cpu"), pooled)


def test_autocast_changes_no_bit(each: Saved, pixels: NDArray[np.uint8]) -> None:
    expected = features(each.backend(), pixels)
    with torch.autocast("cpu", torch.bfloat16):
        computed = features(each.backend(), pixels)
    for one, other in zip(computed, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_default_dtype_changes_no_bit(each: Saved, pixels: NDArray[np.uint8]) -> None:
    expected = features(each.backend(), pixels)
    torch.set_default_dtype(torch.float64)
    try:
        computed = features(each.backend(), pixels)
    finally:
        torch.set_default_dtype(torch.float32)
    for one, other in zip(computed, expected, strict=True):
        np.testing.assert_array_equal(one, other)
