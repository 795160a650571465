"""The batch size where none is named: 128 on CUDA devices, which smaller batches leave idle, and 32 elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.arrays import Pixels, TokenIds, Tokens, Vectors
from clip_image_encoder.cache import CachedEncoder, MemoryCache
from clip_image_encoder.protocols import Output
from clip_image_encoder.testing import ToyBackend

COUNT = 150
IMAGES = [Image.new("RGB", (8, 8), (number % 256, number // 256, 0)) for number in range(COUNT)]


@dataclass(frozen=True, kw_only=True)
class OnSeveral(ToyBackend):
    """A toy on devices of any name."""

    names: tuple[str, ...] = ("cuda:0", "cuda:1", "mps", "cpu")

    @property
    def devices(self) -> Sequence[str]:
        """As they are named."""
        return self.names


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder(backend=OnSeveral())


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (None, [128, 22]),
        ("cuda", [128, 22]),
        (["cuda:0", "cuda:1"], [128, 22]),
        (["cuda:0", "cpu"], [32] * 4 + [22]),
        ("mps", [32] * 4 + [22]),
        ("cpu", [32] * 4 + [22]),
    ],
)
def test_the_devices_decide(encoder: ImageEncoder, device: str | list[str] | None, expected: list[int]) -> None:
    assert [len(batch.embeddings) for batch in encoder.stream(IMAGES, device=device)] == expected
    cached = CachedEncoder(encoder, MemoryCache())
    assert [len(batch.embeddings) for batch in cached.stream(IMAGES, device=device)] == expected


def test_a_batch_size_that_is_named_holds_on_every_device(encoder: ImageEncoder) -> None:
    assert [len(batch.embeddings) for batch in encoder.stream(IMAGES, 50)] == [50, 50, 50]


def test_the_encoders_device_decides_where_the_call_names_none() -> None:
    encoder = ImageEncoder(backend=OnSeveral(), device="cpu")
    assert len(next(encoder.stream(IMAGES)).embeddings) == 32
    assert len(next(CachedEncoder(encoder, MemoryCache()).stream(IMAGES)).embeddings) == 32


def test_a_stream_draws_as_far_ahead_as_its_batches_are_large() -> None:
    drawn = 0

    def endless() -> Iterator[Image.Image]:
        nonlocal drawn
        while True:
            drawn += 1
            yield IMAGES[0]

    stream = ImageEncoder(backend=OnSeveral(), num_workers=2).stream(endless())
    next(stream)
    stream.close()
    assert drawn == 3 * 128 - 1 + 128


def test_what_does_not_fit_is_halved_until_it_does() -> None:
    sizes: list[int] = []

    class Small(OnSeveral):
        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            sizes.append(len(pixels))
            if len(pixels) > 100:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().__call__(pixels, output=output, device=device)

    vectors = ImageEncoder(backend=Small(), num_workers=0).encode(IMAGES[:128])
    assert sizes == [128, 64, 64]
    np.testing.assert_array_equal(vectors, ImageEncoder(backend=ToyBackend()).encode(IMAGES[:128]))


class ToyTexts:
    """A text backend on a CUDA device in name."""

    dimension = 2
    devices = ("cuda:0", "cpu")
    max_length = 1

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        return np.ones((len(token_ids), 2), np.float32)


def test_texts_have_the_same() -> None:
    encoder = TextEncoder(backend=ToyTexts(), tokenizer=lambda texts: (np.zeros((len(texts), 1), np.int64), None))
    texts = [str(number) for number in range(COUNT)]
    assert [len(batch.embeddings) for batch in encoder.stream(texts)] == [128, 22]
    assert len(next(encoder.stream(texts, device="cpu")).embeddings) == 32
