"""The checks for writers of components catch what is wrong, and say it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL.Image import Image

from clip_image_encoder.arrays import PixelFormat, Pixels, Tokens, Vectors
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend, check_backend, check_pooling, check_preprocess

PIXEL_FORMAT = PixelFormat(size=(8, 12), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """A preprocess that is right, until a test replaces a part of it."""

    pixel_format: PixelFormat = PIXEL_FORMAT
    spoil: Callable[[Image, Pixels], Pixels] | None = None

    def __call__(self, image: Image, /) -> Pixels:
        pixels = np.array(image.resize((12, 8)))
        return pixels if self.spoil is None else self.spoil(image, pixels)


def darken(image: Image, pixels: Pixels) -> Pixels:
    image.paste((0, 0, 0), (0, 0, *image.size))
    return pixels


def moody(image: Image, pixels: Pixels) -> Pixels:
    return np.random.default_rng().integers(0, 256, pixels.shape, dtype=np.uint8)


def cut(image: Image, pixels: Pixels) -> Pixels:
    return pixels[:, :-1]


def doubled(image: Image, pixels: Pixels) -> Any:
    return pixels.astype(np.float64)


def test_a_right_preprocess_passes() -> None:
    check_preprocess(Resizing())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pixel_format": (8, 12)}, "pixel_format must be a PixelFormat"),
        ({"spoil": cut}, r"became uint8 \(8, 11, 3\)"),
        ({"spoil": doubled}, "became float64"),
        ({"spoil": darken}, "the image was changed"),
        ({"spoil": moody}, "other pixels the second time"),
    ],
)
def test_a_wrong_preprocess_is_told_what_is_wrong(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_preprocess(Resizing(**wrong))


@dataclass(frozen=True, kw_only=True)
class SpoiltBackend(ToyBackend):
    """A backend that is right but for its results."""

    spoil: Callable[[Pixels, Any], Any]

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        result: Vectors = self.spoil(pixels, ToyBackend.__call__(self, pixels, output=output, device=device))
        return result


@dataclass(frozen=True, kw_only=True)
class Homeless(ToyBackend):
    @property
    def devices(self) -> Sequence[str]:
        return ()


def as_list(pixels: Pixels, features: Any) -> Any:
    return features.tolist()


def as_double(pixels: Pixels, features: Any) -> Any:
    return features.astype(np.float64)


def transposed(pixels: Pixels, features: Any) -> Any:
    return features.swapaxes(0, -1)


def holed(pixels: Pixels, features: Any) -> Any:
    return np.where(features > 0, features, np.float32(np.nan))


def centred(pixels: Pixels, features: Any) -> Any:
    return features - features.mean(axis=0, keepdims=True)


def constant(pixels: Pixels, features: Any) -> Any:
    return np.ones_like(features)


def blackened(pixels: Pixels, features: Any) -> Any:
    pixels[:] = 0
    return features


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (as_list, "not a numpy array"),
        (as_double, "float64, not float32"),
        (transposed, "shape"),
        (holed, "NaN or infinity"),
        (centred, "depend on its batch"),
        (constant, "the same features for different images"),
        (blackened, "changed|the same features|depend on its batch"),
    ],
)
def test_a_wrong_backend_is_told_what_is_wrong(spoil: Callable[[Pixels, Any], Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_backend(SpoiltBackend(spoil=spoil))


def test_a_backend_without_a_device_is_told_so() -> None:
    with pytest.raises(AssertionError, match="devices must not be empty"):
        check_backend(Homeless())


@dataclass(frozen=True, kw_only=True)
class SpoiltPooling:
    """A pooling that takes the first token, until a test replaces that."""

    reads: Output = "tokens"
    pool: Callable[[Any], Any]

    def __call__(self, features: Tokens, /) -> Vectors:
        vectors: Vectors = self.pool(features)
        return vectors


def first(features: Any) -> Any:
    return features[:, 0]


def everything(features: Any) -> Any:
    return features


def double(features: Any) -> Any:
    return features[:, 0].astype(np.float64)


def ranked(features: Any) -> Any:
    return features[:, 0] / len(features)


def zeroing(features: Any) -> Any:
    features[:, 1] = 0
    return features[:, 0].copy()


def test_a_right_pooling_passes() -> None:
    check_pooling(SpoiltPooling(pool=first))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pool": first, "reads": "everything"}, "reads must be"),
        ({"pool": everything}, "became"),
        ({"pool": double}, "float64, not float32"),
        ({"pool": ranked}, "depends on its batch"),
        ({"pool": zeroing}, "the features were changed"),
    ],
)
def test_a_wrong_pooling_is_told_what_is_wrong(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_pooling(SpoiltPooling(**wrong))


def test_a_component_that_does_not_pickle_is_found_out() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        check_pooling(SpoiltPooling(pool=lambda features: features[:, 0]))


def test_similar_images_get_similar_toy_vectors(photos: list[Image]) -> None:
    def vector(image: Image) -> Vectors:
        pixels = np.array(image.resize((32, 32)))[None]
        features = ToyBackend()(pixels, output="pooled", device="cpu")[0]
        unit: Vectors = features / np.linalg.norm(features)
        return unit

    temple, part, flower = vector(photos[0]), vector(photos[0].crop((20, 20, 620, 400))), vector(photos[5])
    assert temple @ part > temple @ flower
