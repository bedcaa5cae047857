"""Search by lists: true cosines, the same for any threads, and exact again where it must be."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core import search
from annoloop.core.cluster_picks import rank_clusters
from annoloop.core.clusters import find_clusters
from annoloop.core.neighbours import nearest
from annoloop.core.search import Search, approximate, listed
from annoloop.core.targeting import Query
from annoloop.records import Failure, FailureType


@pytest.fixture
def by_lists(monkeypatch):
    monkeypatch.setattr(search, "EXACT", 0)
    monkeypatch.setattr(search, "LISTS", 12)


def pool(n=1_500, d=8, seed=0):
    rng = np.random.default_rng(seed)
    return (4 * rng.normal(size=(20, d))[rng.integers(0, 20, n)] + rng.normal(size=(n, d))).astype(
        np.float32
    )


def test_small_searches_are_exact():
    assert not approximate(1_000, 1_000_000)
    assert approximate(5_000, 1_000_000)
    rows = pool(200)
    exact = nearest(rows[:7], rows, k=5)
    for mine, plain in zip(Search(rows, queries=7).nearest(rows[:7], k=5), exact, strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_lists_find_most_of_the_nearest_and_say_true_cosines(by_lists):
    rows = pool()
    asked = rows[::50] + np.float32(0.1)
    cosines, places = Search(rows, queries=len(asked)).nearest(asked, k=10)
    where = nearest(asked, rows, k=10)[1]
    found = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(places, where, strict=True)])
    assert found >= 0.9
    assert (np.diff(cosines, axis=1) <= 0).all()
    for query, row, cosine in zip(asked, places, cosines, strict=True):
        again, order = nearest(query[None], rows[np.sort(row)], k=10)
        np.testing.assert_array_equal(again[0], cosine)
        assert sorted(np.sort(row)[order[0]].tolist()) == sorted(row.tolist())


@given(seed=st.integers(0, 500), n=st.integers(1, 300), k=st.integers(1, 40))
def test_as_many_as_were_asked_each_once(seed, n, k):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "EXACT", 0)
        patch.setattr(search, "LISTS", 5)
        rows = pool(n, seed=seed)
        _, places = Search(rows, queries=3).nearest(rows[: min(3, n)], k=k)
    assert places.shape == (min(3, n), min(k, n))
    assert all(len(set(row)) == len(row) for row in places.tolist())
    assert places.max() < n


def test_lists_hold_every_row_once_whatever_the_threads():
    rows = pool(900)
    before = numba.get_num_threads()
    made = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            made.append(listed(rows))
    finally:
        numba.set_num_threads(before)
    first, second = made
    assert sorted(first.order.tolist()) == list(range(900))
    np.testing.assert_array_equal(first.order, second.order)
    np.testing.assert_array_equal(first.starts, second.starts)


def test_a_batch_by_lists_is_full_and_repeats_itself(by_lists):
    rows = pool()
    rng = np.random.default_rng(1)
    queries = [
        Query(Failure(f"s{i}", FailureType.MISSED, i % 3, (0, 0, 1, 1)), "missed", f"{i}.jpg", v)
        for i, v in enumerate(rows[rng.integers(0, 1_500, 30)])
    ]
    clusters = find_clusters(queries)
    taken = rng.random(1_500) < 0.2
    for want in (1, 40, 1_100):
        found = rank_clusters(clusters, rows, want=want, taken=taken)
        assert len(set(found.positions.tolist())) == want
        assert not taken[found.positions].any()
        again = rank_clusters(clusters, rows, want=want, taken=taken)
        np.testing.assert_array_equal(found.positions, again.positions)
