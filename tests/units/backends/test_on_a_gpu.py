"""The torch backend on a real CUDA device; on a machine that has none, the other files here use stand-ins for it."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.backends._cuda_graphs import GraphedTower
from clip_image_encoder.backends._torch_streams import lent_stream
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.models import VisionTower
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import check_backend, check_text_backend

from .conftest import Saved
from .families import normalize

if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device here", allow_module_level=True)

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
    """Let torch have 300 MiB more of the device's memory than it has."""
    gc.collect()
    torch.cuda.empty_cache()
    allowed = torch.cuda.memory_reserved() + (300 << 20)
    torch.cuda.set_per_process_memory_fraction(allowed / torch.cuda.get_device_properties(0).total_memory)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0)


def cosines(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float32]:
    result: NDArray[np.float32] = (one * two).sum(axis=1)
    return result


def test_every_familys_features_are_those_of_transformers(each: Saved, pixels: NDArray[np.uint8]) -> None:
    features = each.backend(device=CUDA, dtype="float32")(pixels, output="pooled", device=CUDA)
    np.testing.assert_allclose(features, each.family.reference(each.model, normalize(pixels)), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_family_computes_in_half_precision(each: Saved, dtype: str) -> None:
    # Loading compares the vector of a known image with that of float32.
    check_backend(each.backend(device=CUDA, dtype=dtype))


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    """An encoder on the device, in float32."""
    return ImageEncoder("tiny-shapes", device=CUDA, dtype="float32")


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 256, 300])
def test_batches_of_any_size_have_the_vectors_of_the_cpu(
    encoder: ImageEncoder, images: NDArray[np.uint8], expected: NDArray[np.float32], count: int
) -> None:
    for _ in range(2):
        np.testing.assert_allclose(encoder.encode(images[:count], 512), expected[:count], atol=1e-4)


def test_threads_with_batches_of_several_sizes_get_their_own_vectors(
    encoder: ImageEncoder, images: NDArray[np.uint8], expected: NDArray[np.float32]
) -> None:
    starts = range(0, 280, 7)
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: encoder.encode(images[start : start + 1 + start % 20], 4), starts))
    for start, part in zip(starts, parts, strict=True):
        np.testing.assert_allclose(part, expected[start : start + 1 + start % 20], atol=1e-4)


def test_encoders_that_share_the_streams_get_their_own_vectors(images: NDArray[np.uint8]) -> None:
    encoders = [ImageEncoder("tiny-shapes", device=CUDA) for _ in range(2)]
    # Recorded batches beside some that are too large for it, all of which use cuBLAS's scratch memory.
    starts = [(number % 2, 5 * number, 300 if number % 7 == 0 else 1 + number % 8) for number in range(58)]
    alone = [encoders[which].encode(images[start : start + count], 512) for which, start, count in starts]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            work = lambda part: encoders[part[0]].encode(images[part[1] : part[1] + part[2]], 512)  # noqa: E731
            for found, expected in zip(pool.map(work, starts), alone, strict=True):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's, of itself, where its compiler is imported
@pytest.mark.parametrize(
    "backend",
    [
        partial(TorchBackend, cuda_graphs=False),
        partial(TorchBackend, compile=True),
        partial(TorchBackend, compile=True, cuda_graphs=False),
    ],
    ids=["plain", "compiled and recorded", "compiled"],
)
def test_other_ways_give_the_same_vectors(
    images: NDArray[np.uint8], expected: NDArray[np.float32], backend: Callable[..., TorchBackend]
) -> None:
    encoder = ImageEncoder("tiny-shapes", backend=backend, device=CUDA)
    with ThreadPoolExecutor(16) as pool:
        parts = list(pool.map(lambda start: encoder.encode(images[start : start + 10], 4), range(0, 300, 10)))
    assert cosines(np.concatenate(parts), expected).min() > 0.999


def test_a_tower_that_can_not_be_recorded_is_computed_without(caplog: pytest.LogCaptureFixture) -> None:
    def on_the_host(model: nn.Module, pixels: Tensor, _output: str) -> Tensor:
        scale = pixels.float().mean().item()  # waits for the device, which a recording doesn't allow
        return cast("Tensor", model(pixels[:, 0, 0].float())) * scale

    tower = GraphedTower(VisionTower(nn.Linear(3, 2), on_the_host, dimension=2).to(CUDA))
    pixels = torch.ones(3, 4, 4, 3, device=CUDA)
    with torch.inference_mode(), lent_stream(CUDA), caplog.at_level(logging.WARNING):
        first, second = tower(pixels, "pooled"), tower(pixels, "pooled")
        torch.testing.assert_close(first, tower.tower(pixels, "pooled"))
    torch.testing.assert_close(first, second)
    assert caplog.text.count("can't be recorded as a CUDA graph") == 1


def test_recordings_are_freed_with_the_encoder(images: NDArray[np.uint8]) -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    encoder = ImageEncoder("tiny-shapes", device=CUDA)
    encoder.encode(images[:256])
    del encoder
    gc.collect()
    assert torch.cuda.memory_allocated() - before < 2 << 20


def test_a_batcher_gives_each_caller_its_vector(images: NDArray[np.uint8], expected: NDArray[np.float32]) -> None:
    with MicroBatcher(ImageEncoder("tiny-shapes", device=CUDA)) as batcher, ThreadPoolExecutor(32) as callers:
        vectors = np.stack(list(callers.map(batcher.encode, images)))
    assert cosines(vectors, expected).min() > 0.999


def test_two_devices_share_the_batches(images: NDArray[np.uint8], expected: NDArray[np.float32]) -> None:
    encoder = ImageEncoder("tiny-shapes", device=[CUDA, "cpu"], dtype="float32")
    np.testing.assert_allclose(encoder.encode(images, 16), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:The CUDA Graph is empty")  # torch's, of a recording that the memory ends
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
