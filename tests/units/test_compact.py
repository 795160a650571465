"""Smaller vectors: what they keep of the ranking, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clip_image_encoder import ConfigurationError, ImageEncoder, TextEncoder
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.compact import BinaryQuantizer, Int8Quantizer, load_quantizer, save_quantizer, truncate
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

vectors_of_eight = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.just(8)), elements=st.floats(-1, 1, width=32)
).filter(lambda rows: bool((np.abs(rows).max(axis=1) > 0.01).all()))


@pytest.fixture(scope="module")
def pictures() -> Vectors:
    return ImageEncoder("tiny-shapes").encode([draw(scene) for scene in random_scenes(500, seed=21)])


@pytest.fixture(scope="module")
def texts() -> Vectors:
    scenes = random_scenes(60, seed=22)
    return TextEncoder("tiny-shapes").encode([f"a {scene.color} {scene.shape}" for scene in scenes])


def shared_of_ten(scores: Any, truth: Any, *, among: int = 10) -> float:
    """How many of the ten best are among the best by the other scores, 0 to 1."""
    best, found = np.argsort(-truth, axis=1)[:, :10], np.argsort(-scores, axis=1)[:, :among]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(best, found, strict=True)]))


def test_int8_codes_rank_images_as_their_vectors_do(pictures: Vectors, texts: Vectors) -> None:
    quantizer = Int8Quantizer.fit(pictures[:200])
    codes = quantizer(pictures[200:]).astype(np.int32)
    for queries, least in ((pictures[:60], 0.97), (texts, 0.93)):
        scores = quantizer(queries).astype(np.int32) @ codes.T
        assert shared_of_ten(scores, queries @ pictures[200:].T) >= least


def test_int8_codes_restore_vectors_near_the_first(pictures: Vectors) -> None:
    quantizer = Int8Quantizer.fit(pictures[:200])
    restored = quantizer.restore(quantizer(pictures[200:]))
    assert restored.dtype == np.float32
    assert (restored * pictures[200:]).sum(axis=1).min() > 0.999


def test_bits_find_the_best_for_a_second_look(pictures: Vectors, texts: Vectors) -> None:
    of_pictures, of_texts = BinaryQuantizer.fit(pictures[:200]), BinaryQuantizer.fit(texts)
    codes = np.unpackbits(of_pictures(pictures[200:]), axis=1)
    for queries, quantizer in ((pictures[:60], of_pictures), (texts, of_texts)):
        distances = np.array([(codes != row).sum(axis=1) for row in np.unpackbits(quantizer(queries), axis=1)])
        assert shared_of_ten(-distances, queries @ pictures[200:].T, among=50) >= 0.9


@given(vectors_of_eight, vectors_of_eight)
def test_a_code_depends_on_its_own_vector_alone(batch: Vectors, others: Vectors) -> None:
    for quantizer in (Int8Quantizer.fit(others), BinaryQuantizer.fit(others)):
        together = quantizer(batch)
        np.testing.assert_array_equal(together, np.stack([quantizer(row) for row in batch]))


@given(vectors_of_eight)
def test_what_lies_beyond_the_bound_is_cut_and_never_wraps(vectors: Vectors) -> None:
    codes = Int8Quantizer(bound=0.1)(vectors)
    assert codes.dtype == np.int8
    assert (np.sign(codes) * np.sign(vectors) >= 0).all()
    assert codes.min() >= -127


@given(vectors_of_eight, st.integers(1, 8))
def test_a_truncated_vector_has_length_one_and_the_first_direction(vectors: Vectors, dimension: int) -> None:
    if (np.abs(vectors[:, :dimension]).max(axis=1) < 0.01).any():
        return
    short = truncate(vectors, dimension)
    assert short.shape == (len(vectors), dimension)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(short[0], truncate(vectors[0], dimension))
    assert ((short * vectors[:, :dimension]).sum(axis=1) > 0).all()


@pytest.mark.parametrize("quantizer", [Int8Quantizer(bound=0.25, fingerprint="abc"), BinaryQuantizer(centre=(0.5, -1))])
def test_a_stored_quantizer_is_the_same(quantizer: Any, tmp_path: Path) -> None:
    save_quantizer(quantizer, tmp_path / "quantizer.json")
    assert load_quantizer(tmp_path / "quantizer.json") == quantizer


def test_a_quantizer_of_another_encoder_is_refused(tmp_path: Path) -> None:
    save_quantizer(Int8Quantizer(bound=0.25, fingerprint="abc"), tmp_path / "quantizer.json")
    assert load_quantizer(tmp_path / "quantizer.json", fingerprint="abc") == Int8Quantizer(
        bound=0.25, fingerprint="abc"
    )
    with pytest.raises(ConfigurationError, match="another encoder"):
        load_quantizer(tmp_path / "quantizer.json", fingerprint="abd")


@pytest.mark.parametrize("content", ["{}", "no JSON", "[1]", '{"kind": "int8"}', '{"kind": "int8", "bond": 1}'])
def test_a_file_of_something_else_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "quantizer.json").write_text(content)
    with pytest.raises(ConfigurationError, match="not a quantizer"):
        load_quantizer(tmp_path / "quantizer.json")


BAD = np.array([[1, 0], [np.nan, 0]], np.float32)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Int8Quantizer.fit(BAD),
        lambda: Int8Quantizer(bound=1)(BAD),
        lambda: BinaryQuantizer.fit(BAD),
        lambda: BinaryQuantizer(centre=(0, 0))(BAD),
        lambda: truncate(BAD, 1),
    ],
)
def test_the_vector_of_a_failed_image_is_refused_by_its_number(call: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match="vector 1 is NaN"):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: Int8Quantizer.fit(np.empty((0, 4), np.float32)),
        lambda: BinaryQuantizer.fit(np.empty((0, 4), np.float32)),
        lambda: BinaryQuantizer(centre=(0, 0))(np.ones((1, 3), np.float32)),
        lambda: truncate(np.ones((1, 3), np.float32), 4),
        lambda: truncate(np.ones((1, 3), np.float32), 0),
        lambda: truncate(np.ones((1, 3, 3), np.float32), 1),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        call()


UNIT = np.array([0.6, 0.8], np.float32)
ZERO = np.array([[0.6, 0.8], [0.0, 0.0]], np.float32)


@pytest.mark.parametrize("bound", [0, -1, np.nan, np.inf, "0.5", None, [0.5]])
def test_a_bound_is_a_number_above_zero(bound: Any) -> None:
    with pytest.raises(ConfigurationError, match="bound must be a finite number above 0, not"):
        Int8Quantizer(bound=bound)


@pytest.mark.parametrize("centre", [(), (0.5, np.nan), (0.5, "a"), "ab", None, 0.5, ((0.5,),)])
def test_a_centre_is_some_numbers(centre: Any) -> None:
    with pytest.raises(ConfigurationError, match="centre must be finite numbers, not"):
        BinaryQuantizer(centre=centre)


@pytest.mark.parametrize(
    "stored",
    [
        '{"kind": "int8", "bound": 0}',
        '{"kind": "int8", "bound": NaN}',
        '{"kind": "int8", "bound": "0.5"}',
        '{"kind": "binary", "centre": [0.5, null]}',
    ],
)
def test_stored_settings_are_checked_as_those_given(stored: str, tmp_path: Path) -> None:
    (tmp_path / "quantizer.json").write_text(stored)
    with pytest.raises(ConfigurationError, match="not a quantizer"):
        load_quantizer(tmp_path / "quantizer.json")


def test_settings_may_be_numpys(tmp_path: Path) -> None:
    for quantizer in (
        Int8Quantizer(bound=np.float32(0.25)),  # type: ignore[arg-type]
        BinaryQuantizer(centre=np.array([0.5, -1], np.float32)),  # type: ignore[arg-type]
    ):
        save_quantizer(quantizer, tmp_path / "quantizer.json")
        assert load_quantizer(tmp_path / "quantizer.json") == quantizer


def test_what_is_no_quantizer_is_not_stored(tmp_path: Path) -> None:
    quantizer: Any = "int8"
    with pytest.raises(ConfigurationError, match="an Int8Quantizer or a BinaryQuantizer, not str"):
        save_quantizer(quantizer, tmp_path / "quantizer.json")


def test_vectors_without_a_direction_fit_no_bound() -> None:
    with pytest.raises(ConfigurationError, match="all vectors are zero"):
        Int8Quantizer.fit(np.zeros((3, 2), np.float32))


@pytest.mark.parametrize(
    "call",
    [
        lambda: truncate(ZERO, 2),
        lambda: truncate(np.array([[0.6, 0.8, 0], [0, 0, 1]], np.float32), 2),
        lambda: Int8Quantizer(bound=1).restore(np.array([[60, 80], [0, 0]], np.int8)),
    ],
)
def test_what_has_no_direction_is_named_by_its_number(call: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError, match=r"(vector|code) 1 .*no direction"):
        call()


@pytest.mark.parametrize("listed", [list, tuple, lambda rows: [row.tolist() for row in rows]])
def test_lists_of_numbers_are_vectors(listed: Callable[[Vectors], Any]) -> None:
    rows = np.stack([UNIT, UNIT[::-1]])
    assert Int8Quantizer.fit(listed(rows)) == Int8Quantizer.fit(rows)
    assert BinaryQuantizer.fit(listed(rows)) == BinaryQuantizer.fit(rows)
    for call in (
        Int8Quantizer(bound=1),
        BinaryQuantizer(centre=(0.5, 0.7)),
        lambda vectors: truncate(vectors, 1),
    ):
        np.testing.assert_array_equal(call(listed(rows)), call(rows))
    codes = Int8Quantizer(bound=1)(rows)
    restored = Int8Quantizer(bound=1).restore(codes.tolist())
    np.testing.assert_array_equal(restored, Int8Quantizer(bound=1).restore(codes))


def test_a_single_code_restores_to_a_single_vector() -> None:
    quantizer = Int8Quantizer(bound=1)
    np.testing.assert_allclose(quantizer.restore(quantizer(UNIT)), UNIT, atol=0.01)


NOT_VECTORS: list[Any] = ["abc", [["a", "b"]], [[1.0], [1.0, 2.0]], None, [[1j, 2]], 0.5, [[None, 1.0]]]


@pytest.mark.parametrize("given", NOT_VECTORS)
@pytest.mark.parametrize(
    "call",
    [
        Int8Quantizer.fit,
        Int8Quantizer(bound=1),
        Int8Quantizer(bound=1).restore,
        BinaryQuantizer.fit,
        BinaryQuantizer(centre=(0, 0)),
        lambda vectors: truncate(vectors, 1),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(call: Callable[[Any], object], given: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be numbers"):
        call(given)


@pytest.mark.parametrize("dimension", [1.0, "1", None, True])
def test_a_dimension_is_a_whole_number(dimension: Any) -> None:
    with pytest.raises(ConfigurationError, match="dimension must be an integer from 1 to 2, not"):
        truncate(UNIT, dimension)


def test_a_quantizer_is_its_settings() -> None:
    assert dataclasses.replace(Int8Quantizer(bound=0.5), bound=0.25) == Int8Quantizer(bound=0.25)
