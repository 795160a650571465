"""What a fingerprint says of components: every value that decides a vector, and nothing else."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import dataclass, field, replace
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from clip_image_encoder import ClipPreprocess, ImageEncoder, ImageLoader, UrlPolicy
from clip_image_encoder._fingerprint import describe_component
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.testing import ToyBackend

# What stored vectors have beside them: none of these may ever change.
LOADER = (
    "clip_image_encoder.images.ImageLoader(exact=False, background=(255, 255, 255), channels=None, "
    "colour_profile='ignore', max_pixels=89478485, max_bytes=100000000, "
    "formats=('AVIF', 'BMP', 'GIF', 'JPEG', 'JPEG2000', 'MPO', 'PNG', 'PPM', 'TIFF', 'WEBP'), urls=None)"
)
PREPROCESS = (
    "clip_image_encoder.preprocess.clip.ClipPreprocess(resize=224, crop=(224, 224), "
    "resample=<Resampling.BICUBIC: 3>, mean=(0.48145466, 0.4578275, 0.40821073), "
    "std=(0.26862954, 0.26130258, 0.27577711))"
)


@dataclass(frozen=True)
class Component:
    """A component of somebody else's, with one field."""

    value: Any


def description(value: object) -> str:
    return describe_component(Component(value))


def test_the_shipped_components_are_described_as_ever() -> None:
    assert describe_component(ImageLoader()) == LOADER
    assert describe_component(ClipPreprocess()) == PREPROCESS


def test_a_pickle_knows_the_loader_by_the_name_that_it_is_imported_by() -> None:
    assert b"cclip_image_encoder.images\nImageLoader\n" in pickle.dumps(ImageLoader(), protocol=0)
    assert pickle.loads(pickle.dumps(ImageLoader(exact=True))) == ImageLoader(exact=True)


def test_what_an_exact_encoder_of_the_first_version_said_is_said_by_this_one() -> None:
    encoder = ImageEncoder("tiny-shapes", loader=ImageLoader(exact=True), device="cpu")
    assert encoder.fingerprint == "51f2efccdb39770aca32b25f5829d5c3f40f5a8941ddeaebe21cc2ef2479548b"


def test_an_encoder_that_resizes_quickly_says_so() -> None:
    encoder = ImageEncoder("tiny-shapes", device="cpu")
    assert encoder.fingerprint == "3c27a6993c5782b45d3921bcf525e5bb90d94940b79d72694d4dd969d2ab090d"
    assert describe_component(encoder.preprocess).endswith(", exact=False)")


@pytest.mark.parametrize(
    "loader",
    [
        ImageLoader(max_pixels=1_000_000),
        ImageLoader(max_bytes=1_000_000),
        ImageLoader(formats=("JPEG",)),
        ImageLoader(urls=UrlPolicy()),
        ImageLoader(urls=UrlPolicy(total_timeout=7.0, private_hosts=("pictures.intranet",))),
    ],
    ids=["max_pixels", "max_bytes", "formats", "urls", "time limits"],
)
def test_a_limit_of_the_loader_leaves_the_fingerprint(loader: ImageLoader) -> None:
    assert describe_component(loader) == LOADER


@pytest.mark.parametrize(
    "loader",
    [
        ImageLoader(exact=True),
        ImageLoader(background=(0, 0, 0)),
        ImageLoader(channels="first"),
        ImageLoader(color_profile="srgb"),
    ],
    ids=["exact", "background", "channels", "color_profile"],
)
def test_what_changes_an_image_changes_the_fingerprint(loader: ImageLoader) -> None:
    assert describe_component(loader) != LOADER


def _table(changed: int | None = None) -> np.ndarray[Any, Any]:
    """Numbers that numpy's repr leaves out of its middle."""
    table = np.zeros((100, 100), np.float32)
    if changed is not None:
        table.flat[changed] = 1
    return table


class Point(NamedTuple):
    x: int
    y: int


class Kind(Enum):
    """With a repr that says nothing."""

    ONE = 1
    TWO = 2

    def __repr__(self) -> str:
        return "a kind"


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (_table(), _table(5_000)),
        (torch.from_numpy(_table()), torch.from_numpy(_table(5_000))),
        ([_table()], [_table(5_000)]),
        ({"table": _table()}, {"table": _table(5_000)}),
        (Component(_table()), Component(_table(5_000))),
        (np.zeros(2, np.float32), np.zeros(2, np.float64)),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.float32(0.1), 0.1),
        (torch.tensor(0.12345678), torch.tensor(0.12345679)),
        (Kind.ONE, Kind.TWO),
        (Path("a"), "a"),
        ((1,), 1),
        ("1", 1),
        (b"a", "a"),
        (ToyBackend(), ToyBackend(dimension=8)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_two_values_are_never_described_alike(one: object, two: object) -> None:
    assert description(one) != description(two)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (_table(), _table().copy(order="F")),
        (_table(), np.repeat(_table(), 2, axis=0)[::2]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"red", "green", "blue"}, {"blue", "green", "red"}),
    ],
    ids=["order in memory", "strides", "dict", "set"],
)
def test_a_value_is_described_alike_however_it_is_stored(one: object, two: object) -> None:
    assert description(one) == description(two)


def test_another_process_describes_a_set_alike() -> None:
    program = (
        "from dataclasses import make_dataclass\n"
        "from clip_image_encoder._fingerprint import describe_component\n"
        "print(describe_component(make_dataclass('Named', ['names'])(frozenset({'red', 'green', 'blue', 'grey'}))))\n"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(said) == 1


class Unknown:
    """Whose repr says nothing of what it is."""

    def __repr__(self) -> str:
        return "Unknown()"


@pytest.mark.parametrize(
    "value",
    [
        Unknown(),
        (Unknown(),),
        {"key": Unknown()},
        len,
        lambda image: image,
        np.array([Unknown()]),
        np.ma.masked_equal(np.arange(3), 1),
        type("Metres", (float,), {})(1.0),
        Point(1, 2),
        Fraction(1, 3),
        torch.zeros(1, requires_grad=True),
        ToyBackend,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_which_nothing_is_known_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"Component\.value .*can't be fingerprinted.*`fingerprint`"):
        description(value)


@dataclass(frozen=True, kw_only=True)
class Grown:
    """A component that got two fields after its first vectors were stored."""

    strength: float = 0.5
    threads: int = field(default=1, metadata={"fingerprint": ""})
    cut: bool = field(default=False, metadata={"fingerprint_omits": False})


def test_a_field_that_decides_nothing_may_be_left_out() -> None:
    assert describe_component(Grown(threads=8)) == describe_component(Grown())
    assert describe_component(Grown()).endswith("Grown(strength=0.5)")


def test_a_field_that_came_later_is_left_out_at_the_value_of_before() -> None:
    assert describe_component(replace(Grown(), cut=True)).endswith("Grown(strength=0.5, cut=True)")


def test_a_component_may_say_for_itself_what_it_is() -> None:
    class Named:
        fingerprint = "named 1"

    assert describe_component(Named()) == "named 1"
    assert description(Named()).endswith("Component(value=named 1)")
