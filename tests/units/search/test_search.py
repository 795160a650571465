"""Search without a database: exact, whatever the blocks are, with equal scores in the order of their rows."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from clip_image_encoder import ConfigurationError
from clip_image_encoder.arrays import Vectors, unit_rows
from clip_image_encoder.search import near_duplicates, search

# Dot products of small whole numbers are exact in float32 and float64, so that many scores are equal.
whole = st.integers(-2, 2).map(float)
rows_of_three = arrays.arrays(np.float32, st.tuples(st.integers(0, 12), st.just(3)), elements=whole)
queries_of_three = arrays.arrays(np.float32, st.tuples(st.integers(0, 4), st.just(3)), elements=whole)
some_failed = st.sets(st.integers(0, 11))


def random_rows(count: int, dimension: int, *, seed: int = 0) -> Vectors:
    return unit_rows(np.random.default_rng(seed).standard_normal((count, dimension), dtype=np.float32))


def with_failed(vectors: Vectors, failed: set[int]) -> Vectors:
    vectors = vectors.copy()
    vectors[[row for row in failed if row < len(vectors)]] = np.nan
    return vectors


@settings(max_examples=150, deadline=None)
@given(
    vectors=rows_of_three,
    queries=queries_of_three,
    failed=some_failed,
    k=st.integers(1, 14),
    block=st.sampled_from([1, 3, 100]),
)
def test_the_best_are_those_of_a_full_sort_whatever_the_blocks_are(
    vectors: Vectors, queries: Vectors, failed: set[int], k: int, block: int
) -> None:
    vectors = with_failed(vectors, failed)
    with patch.multiple("clip_image_encoder.search", _ROWS=block):
        indices, scores = search(vectors, queries, k)
    readable = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    truth = queries @ vectors[readable].T
    order = np.argsort(-truth, axis=1, kind="stable")[:, :k]
    assert indices.tolist() == readable[order].tolist()
    assert scores.tolist() == np.take_along_axis(truth, order, axis=1).tolist()
    assert [indices.dtype, scores.dtype] == ["int64", "float32"]


def test_a_hundred_thousand_vectors_are_searched_as_numpy_does_in_float64() -> None:
    vectors, queries = random_rows(100_000, 64), random_rows(5, 64, seed=1)
    vectors[50_000:50_010] = vectors[7]
    queries[0] = vectors[7]
    indices, scores = search(vectors, queries, 20)
    truth = queries.astype(np.float64) @ vectors.astype(np.float64).T
    best = np.argsort(-truth.astype(np.float32), axis=1, kind="stable")[:, :20]
    np.testing.assert_array_equal(indices, best)
    np.testing.assert_allclose(scores, np.take_along_axis(truth, best, axis=1), atol=1e-7)


def test_equal_vectors_have_equal_scores_in_the_order_of_their_rows() -> None:
    vectors = np.repeat(random_rows(3, 512), 20_001, axis=0)
    indices, scores = search(vectors, vectors[0] * np.float32(0.7), 30)
    assert indices.tolist() == list(range(30))
    assert len(set(scores.tolist())) == 1


def test_rounding_in_float32_keeps_no_vector_out() -> None:
    # The same numbers in other orders have the same sum, and other sums in float32.
    numbers = np.random.default_rng(3).standard_normal(512, dtype=np.float32)
    vectors = np.random.default_rng(4).permuted(np.tile(numbers / 23, (20_000, 1)), axis=1)
    query = np.full(512, 0.0625, np.float32)
    assert len(set((vectors @ query).tolist())) > 5
    indices, scores = search(vectors, query, 30)
    assert indices.tolist() == list(range(30))
    assert len(set(scores.tolist())) == 1


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_of_any_float_type_are_searched(dtype: Any) -> None:
    vectors = random_rows(200, 16).astype(dtype)
    indices, _ = search(vectors, vectors[[3, 5]], 1)
    assert indices.tolist() == [[3], [5]]


def test_one_query_gives_rows_without_an_axis_for_queries() -> None:
    indices, scores = search(random_rows(5, 4), random_rows(1, 4)[0], 2)
    assert indices.shape == scores.shape == (2,)


@pytest.mark.parametrize(("count", "queries", "shape"), [(0, 2, (2, 0)), (3, 0, (0, 0)), (3, 2, (2, 3))])
def test_there_are_no_more_matches_than_vectors(count: int, queries: int, shape: tuple[int, int]) -> None:
    indices, scores = search(random_rows(count, 4), random_rows(queries, 4), 10)
    assert indices.shape == scores.shape == shape


def test_a_mapped_file_is_searched_in_little_memory(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", random_rows(40_000, 256))  # 41 MB
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    tracemalloc.start()
    try:
        search(mapped, np.asarray(mapped[:200]), 5)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000


@pytest.mark.parametrize(
    ("vectors", "queries", "k", "problem"),
    [
        (np.zeros((2, 3), np.int8), np.zeros(3, np.float32), 1, r"vectors must be .* not int8 \(2, 3\)"),
        (np.zeros(3, np.float32), np.zeros(3, np.float32), 1, r"vectors must be .* not float32 \(3,\)"),
        ([[0.0, 1.0]], np.zeros(2, np.float32), 1, "vectors must be .* not list"),
        (np.zeros((2, 3), np.float32), "a dog", 1, "queries must be .* not str"),
        (np.zeros((2, 3), np.float32), np.zeros((1, 1, 3)), 1, r"queries must be .* not float64 \(1, 1, 3\)"),
        (np.zeros((2, 3), np.float32), np.zeros(4, np.float32), 1, "queries have 4 numbers and vectors 3"),
        (np.zeros((2, 3), np.float32), np.full((1, 3), np.nan), 1, "query 0 is NaN"),
        (np.zeros((2, 3), np.float32), np.zeros(3, np.float32), 0, "k must be a positive integer, not 0"),
    ],
)
def test_what_can_not_be_searched_is_refused_at_the_door(vectors: Any, queries: Any, k: int, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        search(vectors, queries, k)


def groups_by_brute_force(vectors: Vectors, threshold: float) -> list[list[int]]:
    """Groups of rows that a walk along the pairs leads through."""
    close = np.nan_to_num(vectors @ vectors.T, nan=-1) >= threshold
    groups, seen = [], set[int]()
    for row in range(len(vectors)):
        group, todo = set[int](), [row]
        while todo:
            at = todo.pop()
            if at not in group | seen:
                group.add(at)
                todo += np.flatnonzero(close[at]).tolist()
        seen |= group
        if len(group) > 1:
            groups.append(sorted(group))
    return groups


@settings(max_examples=150, deadline=None)
@given(
    angles=st.lists(st.integers(0, 71), max_size=12),
    failed=some_failed,
    threshold=st.sampled_from([0.5, 0.98, 0.997, 1.0]),
    block=st.sampled_from([2, 3, 100]),
)
def test_groups_of_near_duplicates_are_those_of_a_walk_along_all_pairs(
    angles: list[int], failed: set[int], threshold: float, block: int
) -> None:
    # Steps of 5 degrees, whose cosine is 0.996: chains come about, and no cosine is close to a threshold.
    radians = np.radians(5.0 * np.array(angles).reshape(-1, 1))
    vectors = with_failed(np.hstack([np.cos(radians), np.sin(radians)]).astype(np.float32), failed)
    with patch.multiple("clip_image_encoder.search", _COLUMNS=block, _SCORES=2 * block):
        groups = near_duplicates(vectors, threshold)
    # A bit less, as documented, since 60 degrees and equal vectors are on the threshold.
    truth = groups_by_brute_force(vectors.astype(np.float64), threshold - 1e-6)
    assert [group.indices.tolist() for group in groups] == truth


def test_each_near_duplicate_has_the_cosine_to_the_nearest_of_its_group() -> None:
    angles = np.radians([0, 90, 3, 10])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    (group,) = near_duplicates(vectors, 0.99)
    assert group.indices.tolist() == [0, 2, 3]
    np.testing.assert_allclose(group.scores, np.cos(np.radians([3, 3, 7])), atol=1e-6)


def test_more_equal_vectors_than_a_block_has_are_one_group() -> None:
    vectors = np.repeat(random_rows(2, 8), 1_000, axis=0)
    with patch.multiple("clip_image_encoder.search", _COLUMNS=128, _SCORES=8192):
        assert [len(group.indices) for group in near_duplicates(vectors, 1.0)] == [1_000, 1_000]


@pytest.mark.parametrize("threshold", [0, -0.5, 1.1, float("nan"), "0.9"])
def test_a_threshold_that_is_no_cosine_is_refused(threshold: Any) -> None:
    with pytest.raises(ConfigurationError, match="threshold must be a number above 0, at most 1"):
        near_duplicates(random_rows(2, 2), threshold)
