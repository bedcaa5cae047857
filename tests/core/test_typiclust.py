"""TypiClust: clusters without labels first, the most typical row of each; k-means below it."""

import numba
import numpy as np
import pytest

from annoloop.core import typiclust
from annoloop.core.kmeans import clustered
from annoloop.core.typiclust import most_typical
from annoloop.errors import VectorError


def typical(vectors, *, seed=0, **more):
    return most_typical(vectors, rng=np.random.default_rng(seed), **more)


@pytest.fixture
def pool():
    """Ten well separated clusters of 20, 30, … 110 rows."""
    rng = np.random.default_rng(1)
    which = np.repeat(np.arange(10), np.arange(20, 120, 10))
    return 5 * np.eye(16)[which] + 0.3 * rng.normal(size=(len(which), 16)), which


def test_one_typical_row_of_each_cluster_the_largest_first(pool):
    vectors, which = pool
    found = typical(vectors, want=10)
    assert which[found.positions].tolist() == list(range(9, -1, -1))
    assert found.sizes.tolist() == list(range(110, 10, -10))
    assert found.clusters.tolist() == list(range(1, 11))
    assert found.labels.tolist() == [0] * 10
    assert found.count == 10
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row, score in zip(found.positions.tolist(), found.scores, strict=True):
        mates = np.flatnonzero(which == which[row])
        apart = np.sort(np.linalg.norm(unit[mates][:, None] - unit[mates][None], axis=2), axis=1)
        mean = apart[:, 1 : min(21, len(mates))].mean(axis=1)
        assert row == mates[np.argmin(mean)]
        assert score == pytest.approx(1 / (1 + mean.min()), abs=1e-5)


def test_labelled_clusters_wait(pool):
    vectors, which = pool
    labelled = vectors[[np.flatnonzero(which == c)[0] for c in (9, 8, 7, 6, 5)]]
    picks = typical(vectors, want=5, centres=labelled).positions
    assert (which[picks] < 5).mean() >= 0.9


def test_closed_rows_are_never_picked_and_all_others_are_in_the_end(pool):
    vectors, _ = pool
    closed = np.random.default_rng(2).random(len(vectors)) < 0.4
    found = typical(vectors, want=10_000, closed=closed)
    assert sorted(found.positions.tolist()) == np.flatnonzero(~closed).tolist()


def test_tiny_clusters_come_last(monkeypatch):
    rng = np.random.default_rng(3)
    which = np.repeat([0, 1, 2], [40, 30, 3])
    vectors = 5 * np.eye(4)[which] + 0.01 * rng.normal(size=(73, 4))
    monkeypatch.setattr(typiclust, "MOST", 3)
    found = typical(vectors, want=73)
    assert which[found.positions[:2]].tolist() == [0, 1]
    assert which[found.positions[-3:]].tolist() == [2, 2, 2]


def test_a_large_cluster_is_judged_by_a_sample_of_it(pool, monkeypatch):
    vectors, which = pool
    monkeypatch.setattr(typiclust, "LARGE", 25)
    found = typical(vectors, want=10)
    assert which[found.positions].tolist() == list(range(9, -1, -1))
    everyone = typical(vectors, want=len(vectors)).positions
    assert sorted(everyone.tolist()) == list(range(len(vectors)))


def test_same_seed_same_picks_whatever_the_threads(pool):
    vectors, _ = pool
    first = typical(vectors, want=30).positions
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert typical(vectors, want=30).positions.tolist() == first.tolist()
    finally:
        numba.set_num_threads(threads)
    assert len(set(first.tolist())) == 30


def test_k_means_finds_separate_clusters_also_from_a_sample(pool, monkeypatch):
    vectors, which = pool
    number = clustered(vectors, 10, rng=np.random.default_rng(0))
    assert len({*zip(which.tolist(), number.tolist(), strict=True)}) == 10
    monkeypatch.setattr("annoloop.core.kmeans.TRAINED", 20)
    number = clustered(vectors, 10, rng=np.random.default_rng(0))
    assert len({*zip(which.tolist(), number.tolist(), strict=True)}) == 10
    same = clustered(np.ones((7, 2)), 3, rng=np.random.default_rng(0))
    assert same.tolist() == [0] * 7


def test_nothing_to_pick_and_broken_vectors():
    assert typical(np.ones((3, 2)), want=0).positions.tolist() == []
    assert typical(np.ones((1, 2)), want=4).positions.tolist() == [0]
    vectors = np.ones((3, 2))
    vectors[1, 0] = np.nan
    with pytest.raises(VectorError, match=": b"):
        typical(vectors, want=1, names=("a", "b", "c"))
    with pytest.raises(VectorError, match="labelled row 1"):
        typical(np.ones((2, 2)), want=1, centres=vectors)
