"""What type checkers see of the public face: checked by mypy and pyright, never run."""

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import assert_type

from clip_image_encoder import (
    Backend,
    ClassTokenPooling,
    ClipPreprocess,
    EncodedBatch,
    ImageEncoder,
    ImageError,
    ImageInput,
    ImageLoader,
    MeanPatchesPooling,
    Output,
    PixelFormat,
    Pooling,
    Preprocess,
    PretrainedPooling,
    TextEncoder,
)
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.testing import ToyBackend, check_pooling

encoder = ImageEncoder("tiny-shapes", device=["cuda:0", "cuda:1"], dtype="float16")
image = Image.new("RGB", (8, 8))

assert_type(encoder.encode("cat.jpg"), NDArray[np.float32])
assert_type(encoder.encode([Path("cat.jpg"), b"...", image, np.zeros((8, 8, 3))]), NDArray[np.float32])
assert_type(encoder.encode(torch.zeros(3, 8, 8)), NDArray[np.float32])
assert_type(encoder.encode(np.zeros((2, 8, 8, 3))), NDArray[np.float32])
assert_type(encoder.encode((image for _ in range(3)), 16, "cpu", on_error="nan"), NDArray[np.float32])
assert_type(encoder.stream([image]), Generator[EncodedBatch, None, None])
assert_type(encoder.dimension, int)
assert_type(encoder.fingerprint, str)
assert_type(encoder.backend, Backend)
assert_type(encoder.loader(image), Image.Image)
assert_type(TextEncoder("tiny-shapes").encode("a cat"), NDArray[np.float32])
assert_type(TextEncoder("tiny-shapes").encode(["a cat", "a dog"]), NDArray[np.float32])

for batch in encoder.stream([image]):
    assert_type(batch.start, int)
    assert_type(batch.embeddings, NDArray[np.float32])
    assert_type(batch.failures, tuple[ImageError, ...])

encoder.encode(3)  # type: ignore[arg-type]
encoder.encode([1, 2])  # type: ignore[list-item]
encoder.encode(image, on_error="skip")  # type: ignore[arg-type]
ImageLoader(channels="middle")  # type: ignore[arg-type]
MeanPatchesPooling(3)  # type: ignore[call-arg]


PIXEL_FORMAT = PixelFormat(size=(32, 32), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@dataclass(frozen=True, kw_only=True)
class Half:
    """A preprocess as a frozen dataclass."""

    pixel_format: PixelFormat = PIXEL_FORMAT

    def __call__(self, picture: Image.Image, /) -> Pixels:
        return np.asarray(picture.resize((32, 32)))


@dataclass(frozen=True, kw_only=True)
class MaxPooling:
    """A pooling as a frozen dataclass."""

    reads: Literal["tokens"] = "tokens"

    def __call__(self, features: Tokens, /) -> Vectors:
        vectors: Vectors = features.max(axis=1)
        return vectors


@dataclass(frozen=True, kw_only=True)
class Constant:
    """A backend as a frozen dataclass."""

    dimension: int = 4
    image_size: tuple[int, int] = (32, 32)
    devices: tuple[str, ...] = ("cpu",)
    outputs: frozenset[Output] = frozenset({"pooled"})
    prefix_tokens: int = 0

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        return np.ones((len(pixels), 4), np.float32)


def transform(picture: Image.Image) -> torch.Tensor:
    """Such as open_clip's."""
    return torch.zeros(3, 32, 32)


preprocesses: list[Preprocess] = [Half(), ClipPreprocess()]
poolings: list[Pooling] = [MaxPooling(), PretrainedPooling(), ClassTokenPooling(), MeanPatchesPooling()]
backends: list[Backend] = [Constant(), ToyBackend()]
inputs: list[ImageInput] = ["cat.jpg", Path("cat.jpg"), b"...", bytearray(), memoryview(b""), image, torch.zeros(8, 8)]
ImageEncoder(backend=Constant(), preprocess=Half(), pooling=MaxPooling(), loader=ImageLoader())
ImageEncoder(backend=Constant(), preprocess=transform)
ImageEncoder("tiny-shapes", backend=partial(TorchBackend, compile=True))
ImageEncoder("tiny-shapes", backend=TorchBackend)
check_pooling(MaxPooling())
