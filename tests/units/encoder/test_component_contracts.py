"""A component that breaks its protocol is named; a device that fails leaves the encoder usable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import BackendError, ClipPreprocess, ContractError, ImageEncoder, Output
from clip_image_encoder.arrays import PixelFormat, Pixels, Tokens, Vectors
from clip_image_encoder.testing import ToyBackend


@dataclass(frozen=True, kw_only=True)
class Spoilt(ToyBackend):
    """A backend whose results pass through `spoil` before they are returned."""

    spoil: Callable[[Any], Any]

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        result: Vectors = self.spoil(ToyBackend.__call__(self, pixels, output=output, device=device))
        return result


@dataclass(frozen=True, kw_only=True)
class SmallMemory(ToyBackend):
    """A backend that runs out of memory when a batch is larger than `room`."""

    room: int
    calls: list[int] = field(default_factory=list)

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        self.calls.append(len(pixels))
        if len(pixels) > self.room:
            raise OutOfMemoryError("no room")
        return ToyBackend.__call__(self, pixels, output=output, device=device)


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


@dataclass(frozen=True, kw_only=True)
class BrokenPooling:
    reads: Output = "pooled"

    def __call__(self, features: Vectors, /) -> Vectors:
        return features[:, :3]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda vectors: vectors.astype(np.float64),
        lambda vectors: vectors[:-1],
        lambda vectors: vectors[:, :-1],
        lambda vectors: vectors[:, None],
        lambda vectors: vectors.tolist(),
        lambda vectors: None,
    ],
    ids=["float64", "a row less", "a column less", "an axis more", "a list", "None"],
)
def test_a_backend_that_returns_something_else_is_named(noise: Image.Image, spoil: Callable[[Any], Any]) -> None:
    with pytest.raises(ContractError, match="Spoilt returned"):
        ImageEncoder(backend=Spoilt(spoil=spoil)).encode([noise, noise])


def test_a_pooling_that_returns_something_else_is_named(noise: Image.Image) -> None:
    with pytest.raises(ContractError, match="BrokenPooling returned"):
        ImageEncoder(backend=ToyBackend(), pooling=BrokenPooling()).encode(noise)


def test_a_preprocess_that_returns_another_size_is_named(noise: Image.Image) -> None:
    def tiny(image: Image.Image) -> np.ndarray:
        return np.zeros((3, 8, 8), np.float32)

    with pytest.raises(ContractError, match=r"preprocess tiny returned float32 \(3, 8, 8\)"):
        ImageEncoder(backend=ToyBackend(), preprocess=tiny).encode(noise)


def test_a_preprocess_that_raises_is_named(noise: Image.Image) -> None:
    def moody(image: Image.Image) -> np.ndarray:
        raise IndexError("not today")

    with pytest.raises(ContractError, match="preprocess moody raised IndexError: not today"):
        ImageEncoder(backend=ToyBackend(), preprocess=moody).encode(noise)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_a_backend_error_that_names_the_image(noise: Image.Image, value: float) -> None:
    def spoil(vectors: Vectors) -> Vectors:
        spoilt = vectors.copy()
        spoilt[-1, 0] = value
        return spoilt

    with pytest.raises(BackendError, match="image 2"):
        ImageEncoder(backend=Spoilt(spoil=spoil)).encode([noise] * 3)


def test_a_zero_vector_is_a_backend_error(noise: Image.Image) -> None:
    with pytest.raises(BackendError, match="zero vector"):
        ImageEncoder(backend=Spoilt(spoil=np.zeros_like)).encode([noise])


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_very_small_and_very_large_features_become_unit_vectors(noise: Image.Image, scale: float) -> None:
    encoder = ImageEncoder(backend=Spoilt(spoil=lambda vectors: vectors * np.float32(scale)))
    np.testing.assert_allclose(
        encoder.encode(noise),
        ImageEncoder(backend=ToyBackend()).encode(noise),
        atol=1e-6,
    )


def test_a_device_that_fails_is_a_backend_error_with_its_cause(noise: Image.Image) -> None:
    def spoil(vectors: Vectors) -> Vectors:
        raise RuntimeError("device-side assert triggered")

    with pytest.raises(BackendError, match="device-side assert") as caught:
        ImageEncoder(backend=Spoilt(spoil=spoil)).encode([noise])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_out_of_memory_halves_the_batch_and_goes_on(photos: list[Image.Image]) -> None:
    backend = SmallMemory(room=2)
    vectors = ImageEncoder(backend=backend).encode(photos[:8], batch_size=8)
    np.testing.assert_allclose(vectors, ImageEncoder(backend=ToyBackend()).encode(photos[:8]), atol=1e-6)
    assert backend.calls == [8, 4, 2, 2, 2, 2]


def test_the_size_that_fitted_is_what_the_next_batches_begin_with(photos: list[Image.Image]) -> None:
    backend = SmallMemory(room=2)
    ImageEncoder(backend=backend).encode([*photos, *photos][:16], batch_size=8)
    assert backend.calls == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]


def test_out_of_memory_with_one_image_is_a_backend_error(noise: Image.Image) -> None:
    with pytest.raises(BackendError, match="out of memory with a single image"):
        ImageEncoder(backend=SmallMemory(room=0)).encode([noise] * 4)


def test_the_backend_computes_only_what_the_pooling_reads(noise: Image.Image) -> None:
    asked = []

    @dataclass(frozen=True, kw_only=True)
    class Asked(ToyBackend):
        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            asked.append(output)
            return ToyBackend.__call__(self, pixels, output=output, device=device)

    ImageEncoder(backend=Asked()).encode(noise)
    assert asked == ["pooled"]


def test_pixels_reach_the_backend_as_uint8(noise: Image.Image) -> None:
    kinds = []

    @dataclass(frozen=True, kw_only=True)
    class Seen(ToyBackend):
        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            kinds.append((str(pixels.dtype), pixels.shape))
            return ToyBackend.__call__(self, pixels, output=output, device=device)

    ImageEncoder(backend=Seen()).encode([noise, noise])
    assert kinds == [("uint8", (2, 32, 32, 3))]


def test_a_preprocess_is_not_asked_for_its_format_with_each_image() -> None:
    asked = []

    class Counting(ClipPreprocess):
        @property
        def pixel_format(self) -> PixelFormat:
            asked.append(1)
            return super().pixel_format

    encoder = ImageEncoder(backend=ToyBackend(), preprocess=Counting(resize=32, crop=(32, 32)))
    asked.clear()
    encoder.encode([Image.new("RGB", (40, 40), "red")] * 5)
    assert not asked
