"""Search among vectors without a database: the nearest vectors to a query, and vectors that are nearly the same.

Both compare every vector, so that nothing is missed, and go through the vectors block by block, so that memory doesn't
grow with their number. numpy's matrix product is what takes the time; it runs on all cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._arguments import check_count, check_number
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ConfigurationError

__all__ = ["DuplicateGroup", "Matches", "near_duplicates", "search"]

# Scores in a block, 16 MB; and vectors in a block of a search: after each block all threads of the matrix product are
# waited for, which is long on a busy machine.
_SCORES = 1 << 22
_ROWS = 1 << 17

# Numbers in a block of vectors that are copied, since they are not float32: 64 MB.
_COPIED = 1 << 24

# Columns in a block of the comparison of all pairs.
_COLUMNS = 8192

# How far below the threshold a cosine counts, so that rounding does not keep equal vectors apart.
_ROUNDING = 1e-6


class Matches(NamedTuple):
    """The nearest vectors to each query, the best first.

    Attributes:
        indices: Rows of the vectors, `(q, m)` int64; `(m,)` for one query of shape `(d,)`.
        scores: Dot products with the query in the same shape, float32; they are cosines if all lengths are 1.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class DuplicateGroup:
    """Vectors that are nearly the same.

    Attributes:
        indices: Rows of the vectors, `(m,)` int64, ascending; at least two.
        scores: Highest cosine of each with another vector of the group, `(m,)` float32.
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]


def search(vectors: Vectors, queries: Vectors, k: int = 10) -> Matches:
    """Return the k vectors that have the highest dot products with each query: cosines, for vectors of length 1.

    Every vector is compared. The dot products of the best are computed once more in float64 and rounded to float32,
    so that results don't depend on the processor, and that equal vectors have equal scores. Equal scores come in
    the order of their rows.

    Args:
        vectors: Vectors to search, `(n, d)` float32, float64 or float16, such as a memory-mapped array. Rows with
            NaN, as those of images that failed, are never found.
        queries: Vectors of texts or images, `(q, d)`, or `(d,)` for one query.
        k: Number of vectors to find for each query, 10 by default.

    Returns:
        Indices and scores `(q, m)`, or `(m,)` for one query; m is k, or the number of vectors without NaN if there
        are fewer.

    Raises:
        ConfigurationError: An argument has another shape or type, or a query is not finite.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.search import search
        >>> vectors = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
        >>> indices, scores = search(vectors, np.array([0, 1], np.float32), k=2)
        >>> indices.tolist(), scores
        ([1, 2], array([1. , 0.8], dtype=float32))
    """
    _check_vectors(vectors)
    rows = _checked_queries(queries, vectors.shape[1])
    k = check_count(k, name="k")
    best = [_Best.empty() for _ in rows]
    # In float32 a dot product is off by up to d * 2**-24 of the lengths: the k best may be a little lower than others.
    slack = 2 * vectors.shape[1] * 2.0**-24 * np.linalg.norm(rows, axis=1)
    narrow = rows.astype(np.float32)
    step = min(_ROWS, _SCORES // max(1, len(rows)))
    if vectors.dtype != np.float32:
        step = min(step, _COPIED // max(1, vectors.shape[1]))
    step = max(1, step)
    for start in range(0, len(vectors), step):
        block = np.asarray(vectors[start : start + step], dtype=np.float32)
        # Scores of rows with NaN are NaN, and numpy warns of those.
        with np.errstate(invalid="ignore", over="ignore"):
            scores = narrow @ block.T
        for place, query in enumerate(rows):
            likely = _likely(scores[place], best[place].lowest(k) - slack[place], k, slack[place])
            if likely.size:
                exact = _exact(vectors[start + likely], query)
                best[place] = best[place].with_others(likely + start, exact, k)
        del scores  # before the next block's are made
    found = min((len(each.indices) for each in best), default=0)
    matches = Matches(
        np.array([each.indices[:found] for each in best], np.int64).reshape(len(best), found),
        np.array([each.scores[:found] for each in best], np.float32).reshape(len(best), found),
    )
    return Matches(matches.indices[0], matches.scores[0]) if np.ndim(queries) == 1 else matches


def near_duplicates(vectors: Vectors, threshold: float = 0.95) -> list[DuplicateGroup]:
    """Return groups of vectors that are nearly the same.

    Two vectors are in one group if their cosine reaches the threshold, or if others between them lead from one to the
    other in such steps. Every pair is compared: 100,000 vectors take a minute, and ten times as many a hundred times
    as long.

    Args:
        vectors: Vectors `(n, d)` of length 1, float32, float64 or float16. Rows with NaN are in no group.
        threshold: Lowest cosine of near duplicates, above 0 and at most 1; 0.95 by default. A cosine that is lower by
            at most 1e-6 counts, too, since equal vectors may have one of 0.9999999.

    Returns:
        Groups of at least two, in the order of their first rows.

    Raises:
        ConfigurationError: An argument has another shape, type or range.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder.search import near_duplicates
        >>> vectors = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1]], np.float32)
        >>> [group.indices.tolist() for group in near_duplicates(vectors)]
        [[1, 3]]
    """
    _check_vectors(vectors)
    least = check_number(threshold, name="threshold", kind="a number above 0, at most 1", above=0, most=1) - _ROUNDING
    groups = _Groups(len(vectors))
    height = _SCORES // _COLUMNS
    for right in range(0, len(vectors), _COLUMNS):
        columns = np.asarray(vectors[right : right + _COLUMNS], dtype=np.float32)
        # Each pair once: its row comes before its column.
        for left in range(0, right + len(columns), height):
            rows = np.asarray(vectors[left : left + height], dtype=np.float32)
            with np.errstate(invalid="ignore", over="ignore"):
                scores = rows @ columns.T
            row, column = np.nonzero(scores >= least)
            once = row + left < column + right
            row, column = row[once], column[once]
            if row.size:
                groups.add(row + left, column + right, scores[row, column])
        groups.join()
    return groups.found()


class _Best(NamedTuple):
    """The best vectors of a query so far, in order, with their dot products in float32."""

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]

    @classmethod
    def empty(cls) -> _Best:
        return cls(np.empty(0, np.int64), np.empty(0, np.float32))

    def lowest(self, k: int) -> float:
        """Return the score that another vector has to reach; all do as long as there are less than k."""
        return float(self.scores[-1]) if len(self.scores) == k else -np.inf

    def with_others(self, indices: NDArray[np.int64], scores: NDArray[np.float32], k: int) -> _Best:
        """Return the k best of these and of others with higher indices."""
        finite = np.isfinite(scores)
        indices = np.concatenate([self.indices, indices[finite]])
        scores = np.concatenate([self.scores, scores[finite]])
        order = np.argsort(-scores, kind="stable")[:k]
        return _Best(indices[order], scores[order])


def _likely(scores: NDArray[np.float32], least: float, k: int, slack: float) -> NDArray[np.int64]:
    """Return the places of all scores that may be among the k highest, although each is off by half the slack."""
    places = np.flatnonzero((scores >= least) & np.isfinite(scores))
    if len(places) > k:
        found = scores[places]
        places = places[found >= np.partition(found, -k)[-k] - slack]
    return places


def _exact(vectors: NDArray[Any], query: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the dot products of vectors with a query, each computed alone, in float64."""
    # Not a matrix product, whose sums depend on the place of a row.
    exact: NDArray[np.float32] = (vectors.astype(np.float64) * query).sum(axis=1).astype(np.float32)
    return exact


class _Groups:
    """Groups of vectors that pairs lead through; a group's root is the lowest of its rows."""

    def __init__(self, rows: int) -> None:
        self._roots = np.arange(rows, dtype=np.int64)
        self._nearest = np.full(rows, -np.inf, np.float32)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add(self, one: NDArray[np.int64], other: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Add pairs of rows with their scores."""
        np.maximum.at(self._nearest, one, scores)
        np.maximum.at(self._nearest, other, scores)
        apart = self._roots[one] != self._roots[other]
        self._waiting.append((one[apart], other[apart]))
        if sum(len(rows) for rows, _ in self._waiting) > _SCORES:
            self.join()

    def join(self) -> None:
        """Join the groups of the pairs that wait; together, since this goes through all rows."""
        if not self._waiting:
            return
        one, other = (np.concatenate(side) for side in zip(*self._waiting, strict=True))
        self._waiting.clear()
        while True:
            first, second = self._roots[one], self._roots[other]
            apart = first != second
            if not apart.any():
                return
            one, other, first, second = one[apart], other[apart], first[apart], second[apart]
            np.minimum.at(self._roots, np.maximum(first, second), np.minimum(first, second))
            # A root that has got another one is no root any more: each row is led on to the lowest.
            while not np.array_equal(self._roots, further := self._roots[self._roots]):
                self._roots = further

    def found(self) -> list[DuplicateGroup]:
        """Return the groups of at least two, in the order of their roots."""
        members = np.flatnonzero(self._nearest > -np.inf)
        if not members.size:
            return []
        order = members[np.argsort(self._roots[members], kind="stable")]
        starts = np.flatnonzero(np.diff(self._roots[order])) + 1
        return [
            DuplicateGroup(indices=rows, scores=np.minimum(self._nearest[rows], 1)) for rows in np.split(order, starts)
        ]


def _check_vectors(vectors: object) -> None:
    """Check that vectors are an array `(n, d)` of floats; their numbers are not read."""
    if not isinstance(vectors, np.ndarray) or vectors.dtype.kind != "f" or vectors.ndim != 2:
        raise ConfigurationError(f"vectors must be a numpy array (n, d) of floats, not {_described(vectors)}")


def _checked_queries(queries: object, dimension: int) -> NDArray[np.float64]:
    """Return queries as float64 `(q, d)`."""
    if not isinstance(queries, np.ndarray) or queries.dtype.kind != "f" or queries.ndim not in (1, 2):
        raise ConfigurationError(f"queries must be a numpy array (q, d) or (d,) of floats, not {_described(queries)}")
    if queries.shape[-1] != dimension:
        raise ConfigurationError(
            f"queries have {queries.shape[-1]} numbers and vectors {dimension}; encode both with the same checkpoint"
        )
    rows = np.atleast_2d(queries).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ConfigurationError(f"query {bad[0]} is NaN or infinite, as that of a failed image is; leave it out")
    return rows


def _described(value: object) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
