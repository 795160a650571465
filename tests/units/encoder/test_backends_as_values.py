"""A runtime is a name, a function that loads one, or an object that is loaded already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import (
    Backend,
    ClipPreprocess,
    ConfigurationError,
    ContractError,
    ImageEncoder,
    Output,
    PixelFormat,
)
from clip_image_encoder.arrays import Pixels, Vectors
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.testing import ToyBackend


class Asked:
    """Loads a toy, and notes what it was asked for."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}

    def load(self, checkpoint: Checkpoint, /, *, pixel_format: PixelFormat, dtype: str, device: Any) -> Backend:
        self.settings = {"model": checkpoint.name, "pixel_format": pixel_format, "dtype": dtype, "device": device}
        return ToyBackend(image_size=pixel_format.size or (64, 64))


@dataclass(frozen=True, kw_only=True)
class Bare:
    """A backend that says nothing of how its images are prepared."""

    dimension: int = 4
    image_size: tuple[int, int] = (16, 24)
    devices: Sequence[str] = ("cpu",)
    outputs: frozenset[Output] = frozenset({"pooled"})
    prefix_tokens: int = 0

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Vectors:
        return np.ones((len(pixels), 4), np.float32)


class OldBackend:
    """As backends were before they had to say how many tokens come before the patches."""

    dimension, image_size, devices, outputs = 4, (16, 24), ("cpu",), frozenset({"pooled"})

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Vectors:
        return np.ones((len(pixels), 4), np.float32)


def test_a_configured_runtime_is_one_expression(noise: Image.Image) -> None:
    encoder = ImageEncoder("tiny-shapes", backend=partial(TorchBackend, compile=False), device="cpu")
    np.testing.assert_array_equal(encoder.encode(noise), ImageEncoder("tiny-shapes", device="cpu").encode(noise))
    assert encoder.preprocess == ImageEncoder("tiny-shapes").preprocess


def test_what_loads_a_backend_is_told_the_checkpoints_own_pixels() -> None:
    asked = Asked()
    encoder = ImageEncoder("tiny-shapes", backend=asked.load, dtype="float16", device="cpu")
    preprocess = encoder.preprocess
    assert isinstance(preprocess, ClipPreprocess)
    assert asked.settings.pop("model").endswith("checkpoint")
    assert asked.settings == {"pixel_format": preprocess.pixel_format, "dtype": "float16", "device": "cpu"}


def test_a_backend_instance_brings_its_preprocess(noise: Image.Image) -> None:
    given = ClipPreprocess(resize=(16, 24), crop=None)
    assert ImageEncoder(backend=Bare(), preprocess=given).preprocess is given
    assert ImageEncoder(backend=ToyBackend()).preprocess == ToyBackend().preprocess


def test_no_crop_is_guessed_for_a_backend_instance() -> None:
    with pytest.raises(ConfigurationError, match="Bare has no preprocess; pass preprocess="):
        ImageEncoder(backend=Bare())


def test_a_backend_is_no_model() -> None:
    with pytest.raises(ConfigurationError, match="pass it as backend="):
        ImageEncoder(ToyBackend())  # type: ignore[arg-type]  # as it was done before


@pytest.mark.parametrize("backend", [ToyBackend, 5, lambda checkpoint: ToyBackend()], ids=repr)
def test_what_can_not_load_a_backend_is_told_what_it_is_called_with(backend: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"checkpoint, pixel_format, dtype, device"):
        ImageEncoder("tiny-shapes", backend=backend)


def test_an_incomplete_backend_is_told_what_it_lacks() -> None:
    with pytest.raises(ConfigurationError, match="is not a Backend: it lacks prefix_tokens"):
        ImageEncoder(backend=OldBackend(), preprocess=ToyBackend().preprocess)  # type: ignore[arg-type]  # on purpose


def test_what_was_loaded_is_told_what_it_lacks() -> None:
    def load(checkpoint: object, /, *, pixel_format: object, dtype: object, device: object) -> object:
        return OldBackend()

    with pytest.raises(ConfigurationError, match="it lacks prefix_tokens"):
        ImageEncoder("tiny-shapes", backend=load)  # type: ignore[arg-type]  # on purpose


class Falsy:
    """A preprocess that counts as false, as a list of no steps does."""

    pixel_format = PixelFormat(size=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    def __len__(self) -> int:
        return 0

    def __call__(self, image: Image.Image, /) -> NDArray[np.uint8]:
        return np.zeros((64, 64, 3), np.uint8)


def test_a_preprocess_that_counts_as_false_is_taken() -> None:
    preprocess = Falsy()
    assert ImageEncoder("tiny-shapes", preprocess=preprocess).preprocess is preprocess
    assert ImageEncoder(backend=ToyBackend(image_size=(64, 64)), preprocess=preprocess).preprocess is preprocess


def test_bytes_of_a_function_that_says_no_normalization_are_refused(noise: Image.Image) -> None:
    def transform(image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image.resize((32, 32)))

    encoder = ImageEncoder(backend=ToyBackend(), preprocess=transform)
    with pytest.raises(ContractError, match="preprocess transform returned uint8 and has no pixel_format"):
        encoder.encode(noise)
