"""Farthest-first: the plain definition, ties, labelled rows, zero vectors, errors."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core import kcenter
from annoloop.core.kcenter import farthest_first
from annoloop.errors import VectorError


def plain(vectors, *, want, centres, closed):
    """Farthest-first as it is defined, on vectors whose cosines are exact in either precision."""
    best = (vectors @ centres.T).max(axis=1)
    free = ~closed
    picks, distances = [], []
    for _ in range(min(want, int(free.sum()))):
        row = int(np.argmin(np.where(free, best, np.inf)))
        picks.append(row)
        distances.append(1 - best[row])
        free[row] = False
        best = np.maximum(best, vectors @ vectors[row])
    return picks, distances


def corners(rng, n):
    """Vectors of sixteen +-1/4: of length 1, cosines in eighths, so many ties."""
    return (rng.integers(0, 2, (n, 16)) * 2 - 1).astype(np.float32) / 4


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 90),
    m=st.integers(1, 80),
    want=st.integers(0, 100),
    front=st.sampled_from([1, 3, 16, 512]),
)
def test_the_picks_are_those_of_the_definition_ties_and_all(seed, n, m, want, front):
    rng = np.random.default_rng(seed)
    vectors, centres, closed = corners(rng, n), corners(rng, m), rng.random(n) < 0.2
    before, kcenter.FRONT = kcenter.FRONT, front
    try:
        found = farthest_first(vectors, want=want, centres=centres, closed=closed)
    finally:
        kcenter.FRONT = before
    picks, distances = plain(vectors, want=want, centres=centres, closed=closed)
    assert found.positions.tolist() == picks
    assert found.distances.tolist() == distances
    everything = np.concatenate([centres, vectors[found.positions]])
    for index, nearest in enumerate(found.nearest.tolist()):
        assert nearest < m + index
        cosine = vectors[found.positions[index]] @ everything[nearest]
        assert 1 - cosine == found.distances[index]


def test_many_rows_in_many_dimensions_agree_with_double_precision():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(2_000, 37)).astype(np.float32) * rng.uniform(0.1, 9, (2_000, 1))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = farthest_first(vectors, want=300, centres=vectors[:5])
    best = (unit @ unit[:5].T).max(axis=1)
    for row, distance in zip(found.positions.tolist(), found.distances, strict=True):
        assert distance == pytest.approx(1 - best[row], abs=1e-5)
        assert best[row] == pytest.approx(best.min(), abs=1e-5)
        best = np.maximum(best, unit @ unit[row])


def test_without_centres_the_row_most_like_the_mean_comes_first():
    vectors = np.array([[1, 0], [1, 0.1], [0, 1], [1, 0.3]], dtype=np.float32)
    found = farthest_first(vectors, want=3)
    assert found.positions.tolist() == [3, 2, 0]
    assert found.nearest.tolist() == [-1, 0, 0]
    assert found.distances[1] == pytest.approx(1 - 0.3 / 1.09**0.5)


def test_a_longer_answer_begins_with_the_shorter_one_and_threads_change_nothing():
    vectors = np.random.default_rng(2).normal(size=(3_000, 9)).astype(np.float32)
    long = farthest_first(vectors, want=400).positions
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        short = farthest_first(vectors, want=150).positions
    finally:
        numba.set_num_threads(threads)
    assert long[:150].tolist() == short.tolist()
    assert len(set(long.tolist())) == 400


def test_copies_of_a_row_wait_and_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(3)
    vectors = np.repeat(corners(rng, 12), 3, axis=0)
    unlike = len(np.unique(vectors, axis=0))
    found = farthest_first(vectors, want=unlike)
    assert len(np.unique(vectors[found.positions], axis=0)) == unlike
    other = rng.normal(size=(200, 5))
    mixed = rng.permutation(200)
    first = farthest_first(other, want=50).positions
    second = mixed[farthest_first(other[mixed], want=50).positions]
    assert first.tolist() == second.tolist()


def test_vectors_of_length_zero_are_alike():
    vectors = np.zeros((6, 3))
    vectors[4:] = [[1, 0, 0], [0, 1, 0]]
    found = farthest_first(vectors, want=4, centres=np.array([[1.0, 0, 0]]))
    assert found.positions.tolist() == [0, 5, 1, 2]
    assert found.distances.tolist() == [1, 1, 0, 0]
    found = farthest_first(vectors, want=1, centres=np.array([[1.0, 0, 0], [0, 0, 0]]))
    assert found.positions.tolist() == [5]
    assert farthest_first(np.zeros((3, 2)), want=3).positions.tolist() == [0, 1, 2]


def test_half_the_clusters_labelled_the_other_half_gets_the_picks():
    rng = np.random.default_rng(4)
    middles = rng.normal(size=(20, 32))
    which = rng.integers(0, 20, 2_000)
    vectors = middles[which] + 0.3 * rng.normal(size=(2_000, 32))
    labelled = which < 10
    found = farthest_first(vectors[~labelled | (rng.random(2_000) < 0.5)], want=0)
    assert len(found.positions) == 0
    rest = np.flatnonzero(~labelled | (np.arange(2_000) % 2 == 0))
    known = vectors[labelled & (np.arange(2_000) % 2 == 1)]
    picks = rest[farthest_first(vectors[rest], want=10, centres=known).positions]
    assert (which[picks] >= 10).mean() >= 0.9


def test_broken_vectors_are_named():
    vectors = np.ones((4, 2))
    vectors[2, 1] = np.nan
    with pytest.raises(VectorError, match="sample-2"):
        farthest_first(vectors, want=1, names=[f"sample-{i}" for i in range(4)])
    with pytest.raises(VectorError, match="labelled row 2"):
        farthest_first(np.ones((2, 2)), want=1, centres=vectors)
    with pytest.raises(VectorError, match="2 wide"):
        farthest_first(np.ones((2, 2)), want=1, centres=np.ones((2, 3)))
    with pytest.raises(VectorError, match="one row per sample"):
        farthest_first(np.ones(3), want=1)
    with np.errstate(over="raise"), pytest.raises(VectorError, match="row 0"):
        farthest_first(np.array([[1e300, 1.0]]), want=1)
