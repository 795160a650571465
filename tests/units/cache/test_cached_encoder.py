"""CachedEncoder: the encoder's vectors, each computed once."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import pickle
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from clip_image_encoder import ConfigurationError, CorruptImageError, ImageEncoder, ImageError, ImageLoader, Output
from clip_image_encoder.arrays import PixelFormat, Pixels, Tokens, Vectors
from clip_image_encoder.cache import CachedEncoder, DiskCache, EmbeddingCache, MemoryCache
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import ToyBackend

DAMAGED = b"\x89PNG\r\n\x1a\n cut short"


@dataclass(frozen=True)
class CountingBackend(ToyBackend):
    """ToyBackend that notes how many images each batch has."""

    sizes: list[int] = field(default_factory=list, repr=False)
    fingerprint = "counting"

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        self.sizes.append(len(pixels))
        return super().__call__(pixels, output=output, device=device)


@pytest.fixture(params=["memory", "disk"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> EmbeddingCache:
    return MemoryCache() if request.param == "memory" else DiskCache(tmp_path / "vectors.sqlite")


@pytest.fixture
def backend() -> CountingBackend:
    return CountingBackend()


def pictures(count: int, seed: int = 0) -> list[np.ndarray[Any, Any]]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 40, 30, 3), dtype=np.uint8))


def png(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def test_the_vectors_are_the_encoders_at_the_first_and_at_the_second_time(
    backend: CountingBackend, cache: EmbeddingCache
) -> None:
    plain, cached = (
        ImageEncoder(backend=backend),
        CachedEncoder(ImageEncoder(backend=backend), cache),
    )
    for _ in range(2):
        np.testing.assert_array_equal(cached.encode(pictures(9), batch_size=4), plain.encode(pictures(9), batch_size=4))
    assert (cached.hits, cached.misses) == (9, 9)


def test_an_image_passes_the_model_once(backend: CountingBackend, cache: EmbeddingCache) -> None:
    encoder = CachedEncoder(ImageEncoder(backend=backend), cache)
    (picture,) = pictures(1)
    encoder.encode([picture, picture, picture])
    encoder.encode(picture)
    assert sum(backend.sizes) == 1


@pytest.mark.parametrize("arrive", ["path", "bytes", "file", "PIL image", "array", "tensor"])
def test_every_kind_of_input_is_found_again(
    backend: CountingBackend, cache: EmbeddingCache, arrive: str, tmp_path: Path
) -> None:
    import torch

    (array,) = pictures(1)
    file = tmp_path / "picture.png"
    file.write_bytes(png(array))
    kinds: dict[str, Callable[[], Any]] = {
        "path": lambda: file,
        "bytes": file.read_bytes,
        "file": lambda: io.BytesIO(file.read_bytes()),
        "PIL image": lambda: Image.open(file),
        "array": lambda: array,
        "tensor": lambda: torch.from_numpy(array),
    }
    encoder = CachedEncoder(ImageEncoder(backend=backend), cache)
    first, second = encoder.encode(kinds[arrive]()), encoder.encode(kinds[arrive]())
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, ImageEncoder(backend=backend).encode(kinds[arrive]()))
    assert (encoder.hits, encoder.misses) == (1, 1)


def test_a_file_that_changes_is_another_image(backend: CountingBackend, cache: EmbeddingCache, tmp_path: Path) -> None:
    encoder, file = (
        CachedEncoder(ImageEncoder(backend=backend), cache),
        tmp_path / "picture.png",
    )
    for picture in pictures(2):
        file.write_bytes(png(picture))
        np.testing.assert_array_equal(encoder.encode(file), ImageEncoder(backend=backend).encode(picture))


shapes = st.tuples(st.integers(1, 6), st.integers(1, 6)).map(lambda shape: (*shape, 3))


@settings(max_examples=200, deadline=None)
@given(st.lists(arrays.arrays(np.uint8, shapes), min_size=1, max_size=12))
def test_two_different_images_never_share_a_vector(several: list[np.ndarray[Any, Any]]) -> None:
    plain = ImageEncoder(backend=ToyBackend(), loader=ImageLoader(channels="last"))
    cached = CachedEncoder(plain, MemoryCache())
    np.testing.assert_array_equal(
        np.stack([cached.encode(picture) for picture in several]),
        np.stack([plain.encode(picture) for picture in several]),
    )


def test_the_same_bytes_in_another_shape_are_another_image(backend: CountingBackend, cache: EmbeddingCache) -> None:
    wide, encoder = (
        np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3),
        CachedEncoder(ImageEncoder(backend=backend), cache),
    )
    encoder.encode([wide, wide.reshape(16, 8, 3)])
    assert encoder.misses == 2


def test_encoders_that_differ_share_a_cache_and_no_vectors(backend: CountingBackend, cache: EmbeddingCache) -> None:
    black = ImageEncoder(backend=backend, loader=ImageLoader(background=(0, 0, 0)))
    white = ImageEncoder(backend=backend)
    file = io.BytesIO()
    Image.new("RGBA", (30, 30), (0, 0, 0, 0)).save(file, "PNG")
    see_through = file.getvalue()
    for encoder in (black, white):
        np.testing.assert_array_equal(CachedEncoder(encoder, cache).encode(see_through), encoder.encode(see_through))


def test_a_bad_image_is_named_each_time_and_never_kept(backend: CountingBackend, cache: EmbeddingCache) -> None:
    encoder = CachedEncoder(ImageEncoder(backend=backend), cache)
    items: list[Any] = [*pictures(2), DAMAGED, "missing.png", DAMAGED]
    for _ in range(2):
        with pytest.raises(CorruptImageError, match="image 2"):
            encoder.encode(items)
        with pytest.warns(UserWarning, match="3 of the images"):
            vectors = encoder.encode(items, on_error="nan")
        assert np.isnan(vectors).any(axis=1).tolist() == [False, False, True, True, True]
        failures = [failure for batch in encoder.stream(items, batch_size=2) for failure in batch.failures]
        assert [failure.index for failure in failures] == [2, 3, 4]
        assert failures[1].source == "missing.png"


def test_two_bad_files_with_the_same_content_are_named_each(
    backend: CountingBackend, cache: EmbeddingCache, tmp_path: Path
) -> None:
    files = [tmp_path / "first.png", tmp_path / "second.png"]
    for file in files:
        file.write_bytes(DAMAGED)
    (batch,) = CachedEncoder(ImageEncoder(backend=backend), cache).stream(files)
    assert [failure.source for failure in batch.failures] == list(map(str, files))


def test_shapes_are_the_encoders(backend: CountingBackend, cache: EmbeddingCache) -> None:
    encoder = CachedEncoder(ImageEncoder(backend=backend), cache)
    assert encoder.encode([]).shape == (0, encoder.dimension)
    assert encoder.encode(pictures(1)[0]).shape == (encoder.dimension,)
    assert encoder.encode(iter(pictures(3))).shape == (3, encoder.dimension)


def test_threads_share_it(backend: CountingBackend, cache: EmbeddingCache) -> None:
    encoder = CachedEncoder(ImageEncoder(backend=backend), cache)
    expected = ImageEncoder(backend=backend).encode(pictures(30))
    with ThreadPoolExecutor(8) as pool:
        for vectors in pool.map(lambda _: encoder.encode(pictures(30), batch_size=7), range(16)):
            np.testing.assert_array_equal(vectors, expected)


def test_a_batcher_takes_it(backend: CountingBackend, cache: EmbeddingCache) -> None:
    encoder = CachedEncoder(ImageEncoder(backend=backend), cache)
    (picture,) = pictures(1)
    with MicroBatcher(encoder, max_wait_ms=0) as batcher:
        np.testing.assert_array_equal(batcher.encode(picture), batcher.encode(picture))
    assert sum(backend.sizes) == 1


def _fill(file: Path, seed: int) -> None:
    CachedEncoder(ImageEncoder(backend=ToyBackend()), DiskCache(file)).encode(pictures(40, seed), batch_size=4)


def test_processes_share_a_disk_cache(tmp_path: Path) -> None:
    file = tmp_path / "vectors.sqlite"
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_fill, args=(file, seed)) for seed in (0, 1, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    encoder = CachedEncoder(ImageEncoder(backend=ToyBackend()), DiskCache(file))
    both = pictures(40, 0) + pictures(40, 1)
    np.testing.assert_allclose(
        encoder.encode(both),
        ImageEncoder(backend=ToyBackend()).encode(both),
        atol=1e-6,
    )
    assert encoder.misses == 0


def test_a_disk_cache_stays_within_its_bytes_and_keeps_what_came_last(tmp_path: Path) -> None:
    file = tmp_path / "vectors.sqlite"
    cache = DiskCache(file, max_bytes=100_000)
    for first in range(0, 1_000, 20):
        cache.put({b"%d" % number: np.full(64, number, np.float32) for number in range(first, first + 20)})
    assert file.stat().st_size <= 110_000
    assert set(cache.get([b"0", b"999"])) == {b"999"}


def test_a_memory_cache_stays_within_its_bytes_and_drops_what_was_used_longest_ago() -> None:
    cache = MemoryCache(max_bytes=10 * 600)
    for number in range(1_000):
        cache.put({b"%d" % number: np.full(64, number, np.float32)})
        assert cache.get([b"0"])
    assert 8 <= len(cache.get([b"%d" % number for number in range(1_000)])) <= 12


def test_a_vector_from_memory_can_not_be_spoiled_for_others() -> None:
    cache, vector = MemoryCache(), np.ones(4, np.float32)
    cache.put({b"key": vector})
    vector[0] = 7
    with pytest.raises(ValueError, match="read-only"):
        cache.get([b"key"])[b"key"][0] = 7
    assert cache.get([b"key"])[b"key"].tolist() == [1, 1, 1, 1]


def test_a_file_that_is_no_cache_is_refused_and_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "letter.txt"
    file.write_text("dear reader " * 100)
    with pytest.raises(ConfigurationError, match=r"letter\.txt"):
        DiskCache(file)
    assert file.read_text() == "dear reader " * 100


@pytest.mark.parametrize("make", [lambda: MemoryCache(0), lambda: DiskCache("x", max_bytes=-1)])
def test_a_cache_of_no_bytes_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="max_bytes"):
        make()


def test_it_pickles_a_disk_cache_to_the_same_file(tmp_path: Path) -> None:
    cache = DiskCache(tmp_path / "vectors.sqlite")
    cache.put({b"key": np.ones(4, np.float32)})
    assert pickle.loads(pickle.dumps(cache)).get([b"key"])[b"key"].tolist() == [1, 1, 1, 1]
    assert pickle.loads(pickle.dumps(MemoryCache())).get([b"key"]) == {}


def test_a_damaged_vector_is_not_taken_for_one(tmp_path: Path, backend: CountingBackend) -> None:
    file = tmp_path / "vectors.sqlite"
    encoder = CachedEncoder(ImageEncoder(backend=backend), DiskCache(file))
    encoder.encode(pictures(1))
    with sqlite3.connect(file) as database:
        database.execute("UPDATE embeddings SET vector = x'00000000'")
    database.close()
    np.testing.assert_array_equal(encoder.encode(pictures(1)), ImageEncoder(backend=backend).encode(pictures(1)))


def test_an_input_that_is_none_raises_the_encoders_error(backend: CountingBackend) -> None:
    with pytest.raises(ImageError, match="image 0"):
        CachedEncoder(ImageEncoder(backend=backend), MemoryCache()).encode([7])  # type: ignore[list-item]


def test_an_error_of_the_source_comes_after_as_many_rows_as_without_a_cache(cache: EmbeddingCache) -> None:
    def source() -> Iterator[Any]:
        yield from pictures(40)
        raise LookupError("the database went away")

    plain = ImageEncoder(backend=ToyBackend())
    for stream in (plain.stream(source()), CachedEncoder(plain, cache).stream(source())):
        rows: list[int] = []
        with pytest.raises(LookupError, match="went away"):
            rows.extend(len(batch.embeddings) for batch in stream)
        assert rows == [32, 8]


def test_it_pickles_and_goes_on_with_a_disk_cache(tmp_path: Path) -> None:
    encoder = CachedEncoder(ImageEncoder(backend=ToyBackend()), DiskCache(tmp_path / "vectors.sqlite"))
    expected = encoder.encode(pictures(3))
    restored = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(restored.encode(pictures(3)), expected)
    assert (restored.hits, restored.misses) == (3, 0)


class Watched:
    """An image that notes on which threads it is loaded."""

    threads: set[threading.Thread]

    def __init__(self, threads: set[threading.Thread]) -> None:
        self.threads = threads

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        self.threads.add(threading.current_thread())
        return pictures(1)[0]


def test_without_workers_it_loads_on_the_callers_thread_and_draws_no_further_than_its_batch() -> None:
    threads: set[threading.Thread] = set()
    drawn = 0

    def endless() -> Iterator[Watched]:
        nonlocal drawn
        while True:
            drawn += 1
            yield Watched(threads)

    stream = CachedEncoder(ImageEncoder(backend=ToyBackend(), num_workers=0), MemoryCache()).stream(
        endless(), batch_size=4
    )
    next(stream)
    stream.close()
    assert (threads, drawn) == ({threading.current_thread()}, 4)


@dataclass(frozen=True)
class MeetingPreprocess:
    """ToyBackend's preprocess, which goes on when two threads have met in it; four come by."""

    meeting: threading.Barrier = field(default_factory=lambda: threading.Barrier(2), repr=False)
    fingerprint = "meeting"

    @property
    def pixel_format(self) -> PixelFormat:
        return ToyBackend().preprocess.pixel_format

    def __call__(self, image: Image.Image) -> Pixels:
        self.meeting.wait(timeout=600)
        return ToyBackend().preprocess(image)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_images_are_preprocessed_on_several_threads(cache: EmbeddingCache, batch_size: int) -> None:
    encoder = ImageEncoder(backend=ToyBackend(), preprocess=MeetingPreprocess(), num_workers=2)
    vectors = CachedEncoder(encoder, cache).encode(pictures(4), batch_size=batch_size)
    np.testing.assert_array_equal(vectors, ImageEncoder(backend=ToyBackend()).encode(pictures(4)))


def test_the_next_batch_loads_while_a_device_computes(cache: EmbeddingCache) -> None:
    third = threading.Event()

    class Device(ToyBackend):
        devices = ("gpu",)
        fingerprint = "device"

        def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
            assert third.wait(timeout=600)
            return super().__call__(pixels, output=output, device=device)

    @dataclass(frozen=True)
    class Counting(MeetingPreprocess):
        seen: list[int] = field(default_factory=list, repr=False)

        def __call__(self, image: Image.Image) -> Pixels:
            self.seen.append(1)
            if len(self.seen) == 3:
                third.set()
            return ToyBackend().preprocess(image)

    encoder = ImageEncoder(backend=Device(), preprocess=Counting(), num_workers=2)
    assert CachedEncoder(encoder, cache).encode(pictures(4), batch_size=2).shape == (4, encoder.dimension)


def test_an_image_that_comes_again_in_the_next_batch_is_loaded_and_encoded_once(
    backend: CountingBackend, cache: EmbeddingCache
) -> None:
    @dataclass(frozen=True)
    class Counting(MeetingPreprocess):
        seen: list[int] = field(default_factory=list, repr=False)

        def __call__(self, image: Image.Image) -> Pixels:
            self.seen.append(1)
            return ToyBackend().preprocess(image)

    preprocess, again = Counting(), pictures(1)
    encoder = CachedEncoder(ImageEncoder(backend=backend, preprocess=preprocess, num_workers=2), cache)
    encoder.encode(again * 7, batch_size=2)
    assert (len(preprocess.seen), sum(backend.sizes)) == (1, 1)
    assert (encoder.hits, encoder.misses) == (6, 1)


def test_the_models_own_numbers_and_unit_vectors_are_kept_apart(
    backend: CountingBackend, cache: EmbeddingCache
) -> None:
    plain, cached = (
        ImageEncoder(backend=backend),
        CachedEncoder(ImageEncoder(backend=backend), cache),
    )
    for normalize in (True, False, True, False):
        np.testing.assert_array_equal(
            cached.encode(pictures(4), normalize=normalize), plain.encode(pictures(4), normalize=normalize)
        )
    assert (cached.hits, cached.misses) == (8, 8)


class TwoDevices(CountingBackend):
    """A backend whose second device computes a little differently, as devices do."""

    @property
    def devices(self) -> tuple[str, ...]:
        return ("cpu", "toy:0", "toy:1")

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        features = super().__call__(pixels, output=output, device=device)
        return features if device == "cpu" else features + np.float32(0.01)


def test_a_calls_own_device_computes_and_has_vectors_of_its_own(cache: EmbeddingCache) -> None:
    plain, cached = (
        ImageEncoder(backend=TwoDevices()),
        CachedEncoder(ImageEncoder(backend=TwoDevices()), cache),
    )
    for device in (None, "toy:0", "toy:1", None):
        np.testing.assert_array_equal(
            cached.encode(pictures(4), device=device), plain.encode(pictures(4), device=device)
        )
    assert (cached.hits, cached.misses) == (8, 8)


def test_a_device_that_is_not_there_is_refused_at_the_call(backend: CountingBackend) -> None:
    with pytest.raises(ConfigurationError, match="no device 'tpu'"):
        CachedEncoder(ImageEncoder(backend=backend), MemoryCache()).stream([], device="tpu")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, ""),
        ({"normalize": False}, " not normalized"),
        ({"device": "toy:1"}, " on toy"),
        ({"device": ["toy:0", "cpu"], "normalize": False}, " not normalized on cpu, toy"),
    ],
    ids=lambda value: str(value) or "neither",
)
def test_a_cache_on_a_users_disk_is_found_by_the_keys_that_it_was_written_with(
    tmp_path: Path, settings: Any, said: str
) -> None:
    cache, plain = DiskCache(tmp_path / "vectors.sqlite"), ImageEncoder(backend=TwoDevices())
    (array,) = pictures(1)
    kind = (plain.fingerprint + said).encode()
    of_file = hashlib.sha256(kind + b"\0file\0" + png(array)).digest()
    of_pixels = hashlib.sha256(kind + b"\0pixels 30 40\0" + array.tobytes()).digest()
    dimension = plain.dimension
    cache.put({of_file: np.full(dimension, 1, np.float32), of_pixels: np.full(dimension, 2, np.float32)})
    encoder = CachedEncoder(plain, cache)
    vectors = encoder.encode([png(array), array], **settings)
    assert vectors.tolist() == [[1] * dimension, [2] * dimension]
    assert (encoder.hits, encoder.misses) == (2, 0)
