"""The torch backend on a real CUDA device; on a machine that has none, the other files here use stand-ins for it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import check_backend, check_text_backend

from .conftest import Saved
from .families import normalise

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")

CUDA = "cuda:0"
TEXTS = ["a red circle", "two blue squares on a green background", "", "a yellow triangle " * 40]


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (300, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Their vectors in float32 on the CPU."""
    return ImageEncoder("tiny-shapes", device="cpu").encode(images)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let torch have 200 MiB of the device's memory."""
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((200 << 20) / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def cosines(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = (one * two).sum(axis=1)
    return result


def test_every_familys_features_are_those_of_transformers(each: Saved, pixels: NDArray[np.uint8]) -> None:
    features = each.backend(device=CUDA, dtype="float32")(pixels, output="pooled", device=CUDA)
    np.testing.assert_allclose(features, each.family.reference(each.model, normalise(pixels)), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_family_computes_in_half_precision(each: Saved, dtype: str) -> None:
    # Loading compares the vector of a known image with that of float32.
    check_backend(each.backend(device=CUDA, dtype=dtype))


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 256, 300])
def test_cuda_graphs_give_the_same_vectors(
    images: NDArray[np.uint8], expected: NDArray[np.float32], count: int
) -> None:
    graphed = ImageEncoder("tiny-shapes", backend=partial(TorchBackend, cuda_graphs=True), dtype="float32")
    for _ in range(2):
        np.testing.assert_allclose(graphed.encode(images[:count], 512), expected[:count], atol=1e-4)


def test_cuda_graphs_serve_several_threads_and_batch_sizes(
    images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    graphed = ImageEncoder("tiny-shapes", backend=partial(TorchBackend, cuda_graphs=True), dtype="float32")
    starts = range(0, 280, 7)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: graphed.encode(images[start : start + 1 + start % 20], 4), starts))
    for start, part in zip(starts, parts, strict=True):
        np.testing.assert_allclose(part, expected[start : start + 1 + start % 20], atol=1e-4)


def test_threads_that_call_one_encoder_get_their_own_vectors(
    images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    encoder = ImageEncoder("tiny-shapes", device=CUDA)
    with ThreadPoolExecutor(16) as pool:
        parts = list(pool.map(lambda start: encoder.encode(images[start : start + 10], 4), range(0, 300, 10)))
    assert cosines(np.concatenate(parts), expected).min() > 0.999


def test_a_batcher_gives_each_caller_its_vector(images: NDArray[np.uint8], expected: NDArray[np.float32]) -> None:
    with MicroBatcher(ImageEncoder("tiny-shapes", device=CUDA)) as batcher, ThreadPoolExecutor(32) as callers:
        vectors = np.stack(list(callers.map(batcher.encode, images)))
    assert cosines(vectors, expected).min() > 0.999


def test_two_devices_share_the_batches(images: NDArray[np.uint8], expected: NDArray[np.float32]) -> None:
    encoder = ImageEncoder("tiny-shapes", device=[CUDA, "cpu"], dtype="float32")
    np.testing.assert_allclose(encoder.encode(images, 16), expected, atol=1e-4)


def test_a_batch_too_large_for_the_memory_is_halved(
    images: NDArray[np.uint8],
    expected: NDArray[np.float32],
    little_memory: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    many = np.tile(images, (40, 1, 1, 1))
    with caplog.at_level(logging.WARNING):
        vectors = ImageEncoder("tiny-shapes", device=CUDA, dtype="float32").encode(many, len(many))
    assert "out of memory" in caplog.text
    np.testing.assert_allclose(vectors, np.tile(expected, (40, 1)), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_texts_have_the_vectors_of_the_cpu(dtype: str) -> None:
    encoder = TextEncoder("tiny-shapes", device=CUDA, dtype=dtype)
    check_text_backend(encoder.backend)
    with ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(lambda _: encoder.encode(TEXTS, 2), range(8)))
    exact = TextEncoder("tiny-shapes", device="cpu").encode(TEXTS)
    for each_vectors in vectors:
        assert cosines(each_vectors, exact).min() > (0.9999 if dtype == "float32" else 0.99)
