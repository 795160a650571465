"""Numbers that are given: one rule for all of them, and how many threads there are by default."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import (
    ClipPreprocess,
    ConfigurationError,
    ImageEncoder,
    ImageLoader,
    NaflexPreprocess,
    OpenClipPreprocess,
    PixelFormat,
    PretrainedPooling,
    TextEncoder,
    UrlPolicy,
)
from clip_image_encoder._arguments import cpu_groups, quota_of
from clip_image_encoder._fingerprint import describe_component
from clip_image_encoder.arguments import check_batch_size
from clip_image_encoder.backends.onnx import OnnxRuntime
from clip_image_encoder.backends.openvino import OpenVino
from clip_image_encoder.batches import join
from clip_image_encoder.cache import CachedEncoder, DiskCache, MemoryCache
from clip_image_encoder.checkpoint import CheckpointTokenizer, open_checkpoint
from clip_image_encoder.compact import BinaryQuantizer, Int8Quantizer, truncate
from clip_image_encoder.folder import embed_folder, embed_images
from clip_image_encoder.measure import Measured, Measurement, measure
from clip_image_encoder.pipeline import run
from clip_image_encoder.search import near_duplicates, search
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.sources import ListedImages
from clip_image_encoder.testing import ToyBackend
from tests.public import public_names

ENCODER = ImageEncoder(backend=ToyBackend(), num_workers=1)
CACHED = CachedEncoder(ENCODER, MemoryCache())
IMAGE = Image.new("RGB", (8, 8))
MEASUREMENT = Measurement(
    measured=(Measured(backend="torch", dtype="float32", times_faster=1.0, mean=1.0, worst=1.0, same_nearest=1.0),),
    left_out=(),
)
FOUR = np.ones(4, np.float32)


@cache
def text_encoder() -> TextEncoder:
    return TextEncoder("tiny-shapes", device="cpu")


def tokenize(number: Any) -> None:
    CheckpointTokenizer(open_checkpoint("tiny-shapes"), max_length=number, padding="longest")


def pixel_format(*, size: Any = (8, 8), mean: Any = 0.5, std: Any = 0.5) -> PixelFormat:
    return PixelFormat(size=size, mean=(0.5, mean, 0.5), std=(0.5, std, 0.5))


def start(**settings: Any) -> None:
    run([], lambda item: FOUR, backend=ToyBackend(), pooling=PretrainedPooling(), **settings)


def serve(**settings: Any) -> None:
    MicroBatcher(ENCODER, **settings).close()


def embed(folder: Path, **settings: Any) -> None:
    (folder / "pictures").mkdir(exist_ok=True)
    embed_folder(folder / "pictures", folder / "vectors.parquet", ENCODER, **settings)


def embed_source(folder: Path, **settings: Any) -> None:
    (folder / "list.txt").touch()
    embed_images(ListedImages(folder / "list.txt"), folder / "vectors.parquet", ENCODER, **settings)


def measure_nothing(number: Any) -> None:
    try:
        measure("tiny-shapes", images=[], batch_size=number)
    except ConfigurationError as error:  # the numbers come first
        if "measuring needs images" not in str(error):
            raise


Taker = Callable[[Any, Path], object]

# What takes a whole number from 1 on, 3 among them. A name before the bracket is what is called.
COUNTS: dict[str, Taker] = {
    "CachedEncoder.encode(batch_size)": lambda number, _: CACHED.encode([], number),
    "CachedEncoder.stream(batch_size)": lambda number, _: list(CACHED.stream([], number)),
    "CheckpointTokenizer(max_length)": lambda number, _: tokenize(number),
    "ClipPreprocess(crop)": lambda number, _: ClipPreprocess(crop=(8, number)),
    "ClipPreprocess(resize)": lambda number, _: ClipPreprocess(resize=number),
    "DiskCache(max_bytes)": lambda number, folder: DiskCache(folder / "vectors.sqlite", number),
    "ImageEncoder(num_workers)": lambda number, _: ImageEncoder(backend=ToyBackend(), num_workers=number),
    "ImageEncoder.encode(batch_size)": lambda number, _: ENCODER.encode([], number),
    "ImageEncoder.stream(batch_size)": lambda number, _: list(ENCODER.stream([], number)),
    "ImageLoader(background)": lambda number, _: ImageLoader(background=(0, number, 255)),
    "ImageLoader(max_bytes)": lambda number, _: ImageLoader(max_bytes=number),
    "ImageLoader(max_pixels)": lambda number, _: ImageLoader(max_pixels=number),
    "ImageLoader.__call__(model_size)": lambda number, _: ImageLoader()(IMAGE, model_size=(8, number)),
    "MemoryCache(max_bytes)": lambda number, _: MemoryCache(number),
    "MicroBatcher(max_batch_size)": lambda number, _: serve(max_batch_size=number),
    "MicroBatcher(max_queue)": lambda number, _: serve(max_queue=number),
    "NaflexPreprocess(max_num_patches)": lambda number, _: NaflexPreprocess(max_num_patches=number),
    "NaflexPreprocess(patch_size)": lambda number, _: NaflexPreprocess(patch_size=number),
    "OpenClipPreprocess(fill_color)": lambda number, _: OpenClipPreprocess(fill_color=number),
    "OpenClipPreprocess(size)": lambda number, _: OpenClipPreprocess(size=(8, number)),
    "PixelFormat(size)": lambda number, _: pixel_format(size=(8, number)),
    "TextEncoder(max_length)": lambda number, _: TextEncoder("tiny-shapes", device="cpu", max_length=number),
    "TextEncoder.encode(batch_size)": lambda number, _: text_encoder().encode([], number),
    "TextEncoder.stream(batch_size)": lambda number, _: list(text_encoder().stream([], number)),
    "ToyBackend(dimension)": lambda number, _: ToyBackend(dimension=number),
    "ToyBackend(grid)": lambda number, _: ToyBackend(grid=number),
    "ToyBackend(image_size)": lambda number, _: ToyBackend(image_size=(number, 8)),
    "UrlPolicy(max_redirects)": lambda number, _: UrlPolicy(max_redirects=number),
    "embed_folder(batch_size)": lambda number, folder: embed(folder, batch_size=number),
    "embed_folder(rows_per_file)": lambda number, folder: embed(folder, rows_per_file=number),
    "embed_images(batch_size)": lambda number, folder: embed_source(folder, batch_size=number),
    "embed_images(rows_per_file)": lambda number, folder: embed_source(folder, rows_per_file=number),
    "measure(batch_size)": lambda number, _: measure_nothing(number),
    "join(dimension)": lambda number, _: join([], dimension=number),
    "run(batch_size)": lambda number, _: start(batch_size=number),
    "run(num_workers)": lambda number, _: start(num_workers=number),
    "search(k)": lambda number, _: search(FOUR[:, None], FOUR[:1], number),
    "truncate(dimension)": lambda number, _: truncate(FOUR, number),
    "check_batch_size(batch_size)": lambda number, _: check_batch_size(number),
}

# What takes any number from 0.5 to 3, and more.
NUMBERS: dict[str, Taker] = {
    "BinaryQuantizer(centre)": lambda number, _: BinaryQuantizer(centre=(0.5, number)),
    "ClipPreprocess(mean)": lambda number, _: ClipPreprocess(mean=(0.5, number, 0.5)),
    "ClipPreprocess(std)": lambda number, _: ClipPreprocess(std=(0.5, number, 0.5)),
    "Int8Quantizer(bound)": lambda number, _: Int8Quantizer(bound=number),
    "Measurement.fastest(least_cosine)": lambda number, _: MEASUREMENT.fastest(least_cosine=number),
    "MicroBatcher(max_wait_ms)": lambda number, _: serve(max_wait_ms=number),
    "NaflexPreprocess(mean)": lambda number, _: NaflexPreprocess(mean=(0.5, number, 0.5)),
    "NaflexPreprocess(std)": lambda number, _: NaflexPreprocess(std=(0.5, number, 0.5)),
    # Their runtimes take it as it is, and load no graph.
    "OnnxBackend(least_cosine)": lambda number, _: OnnxRuntime(least_cosine=number),
    "OnnxTextBackend(least_cosine)": lambda number, _: OnnxRuntime(least_cosine=number),
    "OpenVinoBackend(least_cosine)": lambda number, _: OpenVino(least_cosine=number),
    "OpenVinoTextBackend(least_cosine)": lambda number, _: OpenVino(least_cosine=number),
    "OpenClipPreprocess(mean)": lambda number, _: OpenClipPreprocess(mean=(0.5, number, 0.5)),
    "OpenClipPreprocess(std)": lambda number, _: OpenClipPreprocess(std=(0.5, number, 0.5)),
    "PixelFormat(mean)": lambda number, _: pixel_format(mean=number),
    "PixelFormat(std)": lambda number, _: pixel_format(std=number),
    "UrlPolicy(connect_timeout)": lambda number, _: UrlPolicy(connect_timeout=number),
    "UrlPolicy(read_timeout)": lambda number, _: UrlPolicy(read_timeout=number),
    "UrlPolicy(total_timeout)": lambda number, _: UrlPolicy(total_timeout=number),
}

# What takes any number above 0 that is at most 1.
SHARES: dict[str, Taker] = {
    "near_duplicates(threshold)": lambda number, _: near_duplicates(FOUR[:, None], number),
}
NUMBERS_AND_SHARES = NUMBERS | SHARES

# Where None is documented, it says something.
MAY_BE_NONE = {
    "check_batch_size(batch_size)",
    "CachedEncoder.encode(batch_size)",
    "CachedEncoder.stream(batch_size)",
    "ClipPreprocess(resize)",
    "ImageEncoder(num_workers)",
    "ImageEncoder.encode(batch_size)",
    "ImageEncoder.stream(batch_size)",
    "MicroBatcher(max_queue)",
    "TextEncoder(max_length)",
    "TextEncoder.encode(batch_size)",
    "TextEncoder.stream(batch_size)",
    "embed_folder(batch_size)",
    "embed_images(batch_size)",
    "run(batch_size)",
    "run(num_workers)",
}

# What comes out of a call, and is not given to one.
RESULTS = {"BatcherStats", "EncodedBatch", "FolderPlan", "FolderSummary", "Measured"}

# The checks themselves.
THE_RULE = {"check_count", "check_number"}

# What a family's code says of its towers: the numbers are a config.json's, which is checked as it is read.
FAMILIES = {"TextSpec", "TextTower", "VisionSpec", "VisionTower", "cut", "cut_to_image"}

NO_NUMBERS = [True, np.True_, "5", "5" * 10_000, math.nan, np.float32("nan"), math.inf, np.ones(1000), 3j]
NO_COUNTS = [*NO_NUMBERS, -1, 2.5, 2.0, np.float32(2), np.timedelta64(3, "s"), np.array([3])]


def short(value: object) -> str:
    return f"{type(value).__name__} {value!r}"[:24]


def argument(key: str) -> str:
    return key.partition("(")[2].removesuffix(")")


@pytest.mark.parametrize("key", COUNTS)
@pytest.mark.parametrize("number", [3, np.int64(3), np.uint8(3)], ids=short)
def test_integers_of_python_and_numpy_are_whole_numbers(key: str, number: object, tmp_path: Path) -> None:
    COUNTS[key](number, tmp_path)


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("number", [0.5, 3, np.int64(3), np.float32(0.5), np.float64(0.5)], ids=short)
def test_integers_and_floats_of_python_and_numpy_are_numbers(key: str, number: object, tmp_path: Path) -> None:
    NUMBERS[key](number, tmp_path)


@pytest.mark.parametrize("key", SHARES)
@pytest.mark.parametrize("number", [0.5, 1, np.int64(1), np.float32(0.5), np.float64(0.5)], ids=short)
def test_shares_of_python_and_numpy_are_numbers(key: str, number: object, tmp_path: Path) -> None:
    SHARES[key](number, tmp_path)


@pytest.mark.parametrize(
    ("taker", "wrong"),
    [
        *(pytest.param(key, wrong, id=f"{key}-{short(wrong)}") for key in COUNTS for wrong in NO_COUNTS),
        *(pytest.param(key, wrong, id=f"{key}-{short(wrong)}") for key in NUMBERS_AND_SHARES for wrong in NO_NUMBERS),
        *(pytest.param(key, None, id=f"{key}-None") for key in sorted({*COUNTS, *NUMBERS_AND_SHARES} - MAY_BE_NONE)),
    ],
)
def test_anything_else_is_refused_in_a_short_sentence_that_names_the_argument(
    taker: str, wrong: object, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{argument(taker)}(: \\w+)? must be ") as caught:
        (COUNTS | NUMBERS_AND_SHARES)[taker](wrong, tmp_path)
    assert len(str(caught.value)) < 130
    assert not any(tmp_path.rglob("*.sqlite"))


THREE: Any = np.int64(3)


@pytest.mark.parametrize(
    ("made", "given"),
    [
        (ClipPreprocess(resize=THREE), ClipPreprocess(resize=3)),
        (ClipPreprocess(crop=(THREE, THREE)), ClipPreprocess(crop=(3, 3))),
        (ClipPreprocess(mean=(THREE, 0.5, 0)), ClipPreprocess(mean=(3, 0.5, 0))),
        (ImageLoader(background=(THREE, 0, 0)), ImageLoader(background=(3, 0, 0))),
        (ToyBackend(dimension=THREE), ToyBackend(dimension=3)),
    ],
)
def test_a_component_is_described_the_same_whether_numpy_has_made_its_numbers(made: object, given: object) -> None:
    assert describe_component(made) == describe_component(given)


def names_of_numbers() -> Iterator[str]:
    """Every argument of the public face whose annotation names a number."""
    for path, value in public_names().items():
        name = path.rpartition(".")[2]
        if name in {*RESULTS, *THE_RULE, *FAMILIES}:
            continue
        if inspect.isfunction(value):
            yield from numbers_in(value, name)
        elif isinstance(value, type) and not issubclass(value, Exception) and not getattr(value, "_is_protocol", False):
            yield from numbers_in(value.__init__, name)
            for member, function in vars(value).items():
                if inspect.isfunction(function) and (not member.startswith("_") or member == "__call__"):
                    yield from numbers_in(function, f"{name}.{member}")


def numbers_in(function: Callable[..., object], called: str) -> Iterator[str]:
    for name, parameter in inspect.signature(function).parameters.items():
        if re.search(r"\b(int|float)\b", str(parameter.annotation)):
            yield f"{called}({name})"


def test_every_number_of_the_public_face_is_in_the_tables_above() -> None:
    assert sorted(set(names_of_numbers())) == sorted({*COUNTS, *NUMBERS_AND_SHARES})


@pytest.mark.parametrize(
    ("limits", "cores"),
    [
        ({"": "max 100000"}, math.inf),
        ({"": "150000 100000"}, 1.5),
        ({"pods/one": "max 100000", "pods": "400000 100000"}, 4),
        ({"pods/one": "50000 100000", "pods": "400000 100000"}, 0.5),
        ({}, math.inf),
    ],
)
def test_a_containers_quota_is_the_least_of_its_groups(tmp_path: Path, limits: dict[str, str], cores: float) -> None:
    (tmp_path / "pods/one").mkdir(parents=True)
    for group, limit in limits.items():
        (tmp_path / group / "cpu.max").write_text(limit + "\n")
    assert quota_of(tmp_path / "pods/one") == cores


@pytest.mark.parametrize(("quota", "cores"), [(150000, 1.5), (-1, math.inf)])
def test_the_quota_of_an_older_container_is_read_too(tmp_path: Path, quota: int, cores: float) -> None:
    (tmp_path / "cpu/docker/1f").mkdir(parents=True)
    (tmp_path / "cpu/docker/1f/cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu/docker/1f/cpu.cfs_period_us").write_text("100000\n")
    groups = cpu_groups(["9:name=systemd:/", "4:cpu,cpuacct:/docker/1f", "3:cpuset:/docker/1f"], tmp_path)
    assert min(map(quota_of, groups)) == cores


def test_of_all_control_groups_those_of_cores_are_asked(tmp_path: Path) -> None:
    lines = ["5:cpuset:/a", "4:memory:/b", "1:cpu:/c", "0::/d/e"]
    assert cpu_groups(lines, tmp_path) == [tmp_path / "cpu/c", tmp_path / "d/e"]


def test_an_encoder_has_no_more_threads_than_its_containers_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_image_encoder._arguments._quota", lambda: 0.5)
    assert ImageEncoder(backend=ToyBackend())._num_workers == 1
