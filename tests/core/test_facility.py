"""Facility location: the plain definition, bounded pairs and samples, labelled rows, errors."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core import facility
from annoloop.core.facility import facility_location
from annoloop.errors import VectorError


def locate(vectors, *, seed=0, **more):
    return facility_location(vectors, rng=np.random.default_rng(seed), **more)


def plain(vectors, *, want, centres, closed):
    """Greedy facility location as it is defined."""
    cosines = np.clip(vectors @ vectors.T, 0, None)
    have = np.clip((vectors @ centres.T).max(axis=1), 0, None)
    free = ~closed
    picks, gains, served = [], [], []
    for _ in range(min(want, int(free.sum()))):
        each = np.maximum(cosines - have[:, None], 0)
        gain = np.where(free, each.sum(axis=0), -1)
        row = int(np.argmax(gain))
        if gain[row] <= 0:
            break
        picks.append(row)
        gains.append(gain[row])
        served.append((each[:, row] > 0).sum())
        free[row] = False
        have = np.maximum(have, cosines[:, row])
    return picks, gains, served


def corners(rng, n):
    return (rng.integers(0, 2, (n, 16)) * 2 - 1).astype(np.float32) / 4


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000), n=st.integers(1, 90), m=st.integers(1, 3), want=st.integers(0, 99)
)
def test_the_picks_are_those_of_the_definition_ties_and_all(seed, n, m, want):
    rng = np.random.default_rng(seed)
    vectors, centres, closed = corners(rng, n), corners(rng, m), rng.random(n) < 0.2
    found = locate(vectors, want=want, centres=centres, closed=closed)
    picks, gains, served = plain(vectors, want=want, centres=centres, closed=closed)
    assert found.positions.tolist() == picks
    assert found.gains.tolist() == gains
    assert found.served.tolist() == served
    assert not found.sampled


def test_every_pick_is_greedy_in_double_precision():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(700, 11)) * rng.uniform(0.1, 9, (700, 1))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.clip(unit @ unit.T, 0, None)
    have = np.zeros(700)
    found = locate(vectors, want=80)
    for row, gain in zip(found.positions.tolist(), found.gains, strict=True):
        gains = np.maximum(cosines - have[:, None], 0).sum(axis=0)
        assert gain == pytest.approx(gains[row], abs=1e-4)
        assert gains[row] == pytest.approx(gains.max(), abs=1e-4)
        have = np.maximum(have, cosines[:, row])
    assert (np.diff(found.gains) <= 0).all()


def worth(vectors, picks):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.clip(unit @ unit[picks].T, 0, None).max(axis=1).mean()


@pytest.fixture
def pool():
    rng = np.random.default_rng(2)
    middles = rng.normal(size=(60, 24))
    return middles[rng.integers(0, 60, 3_000)] + 0.5 * rng.normal(size=(3_000, 24))


def test_with_bounded_pairs_and_samples_the_batch_is_worth_nearly_as_much(pool, monkeypatch):
    exact = locate(pool, want=100)
    monkeypatch.setattr(facility, "PAIRS", 200_000)
    bounded = locate(pool, want=100)
    monkeypatch.setattr(facility, "WHOLE", 1_000)
    monkeypatch.setattr(facility, "SMALLEST", 400)
    monkeypatch.setattr(facility, "PER_PICK", 8)
    sampled = locate(pool, want=100)
    chance = worth(pool, np.random.default_rng(0).choice(3_000, 100, replace=False))
    best = worth(pool, exact.positions)
    assert sampled.sampled
    assert not bounded.sampled
    for found in (bounded, sampled):
        assert len(set(found.positions.tolist())) == 100
        assert worth(pool, found.positions) > chance + 0.6 * (best - chance)
    assert worth(pool, bounded.positions) > 0.97 * best
    assert sampled.positions.tolist() == locate(pool, want=100).positions.tolist()
    assert sampled.positions.tolist() != locate(pool, want=100, seed=1).positions.tolist()
    assert 1_000 < sampled.served[:40].sum() <= 6_000


def test_samples_go_on_until_the_batch_is_full(pool, monkeypatch):
    monkeypatch.setattr(facility, "WHOLE", 500)
    monkeypatch.setattr(facility, "SAMPLE", 400)
    monkeypatch.setattr(facility, "SMALLEST", 400)
    closed = np.zeros(3_000, dtype=bool)
    closed[::3] = True
    picks = locate(pool, want=1_500, closed=closed).positions
    assert len(set(picks.tolist())) == 1_500
    assert not closed[picks].any()


def test_threads_and_the_order_of_rows_change_nothing(pool):
    first = locate(pool, want=60).positions
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert locate(pool, want=60).positions.tolist() == first.tolist()
    finally:
        numba.set_num_threads(threads)
    mixed = np.random.default_rng(3).permutation(len(pool))
    assert mixed[locate(pool[mixed], want=60).positions].tolist() == first.tolist()


def test_it_ends_where_nothing_is_left_to_represent():
    vectors = np.repeat(np.eye(3), 4, axis=0)
    found = locate(vectors, want=9)
    assert found.positions.tolist() == [0, 4, 8]
    assert found.served.tolist() == [4, 4, 4]
    assert locate(vectors, want=9, centres=np.eye(3)[:2]).positions.tolist() == [8]
    assert locate(np.zeros((3, 2)), want=2).positions.tolist() == []
    assert locate(np.ones((3, 2)), want=2, closed=np.ones(3, dtype=bool)).positions.tolist() == []


def test_broken_vectors_are_named():
    vectors = np.ones((3, 2))
    vectors[1, 0] = np.inf
    with pytest.raises(VectorError, match="row 1"):
        locate(vectors, want=1)
    with pytest.raises(VectorError, match="labelled row 1"):
        locate(np.ones((2, 2)), want=1, centres=vectors)
