"""Splits: whole units, counts as near as they may be, fair, seeded, and locked by a digest."""

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.splits import (
    Assignment,
    Shares,
    assign,
    golden_count,
    halve,
    leaks,
    manifest_digest,
    units,
)
from annoloop.errors import InputError, SettingsError
from annoloop.records import Half, Split

NO_PAIRS = np.empty((0, 2), dtype=np.int64)


def split(unit, *, shares=None, seed=0, ids=None):
    unit = np.asarray(unit)
    ids = [f"s{i:06}" for i in range(len(unit))] if ids is None else ids
    return assign(ids, units=unit, shares=shares or Shares(), rng=np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("n", "count"), [(8, 1), (20, 3), (100, 15), (333, 49), (334, 50), (1000, 50), (1001, 51)]
)
def test_golden_count(n, count):
    assert golden_count(n) == count


def test_counts_are_exact_where_every_sample_is_a_unit():
    made = split(np.arange(200))
    assert Counter(made.splits) == {"test": 30, "val": 30, "golden": 30, "pool": 110}
    assert Counter(made.halves) == {"mine": 15, "gauge": 15, None: 170}
    assert {type(s) for s in made.splits} == {Split}
    assert made.notes == ()
    made = split(np.arange(10), shares=Shares(test=0.0, val=0.3, golden=0))
    assert Counter(made.splits) == {"val": 3, "pool": 7}


def test_the_smallest_project_has_something_everywhere():
    made = split(np.arange(8))
    assert Counter(made.splits) == {"test": 1, "val": 2, "golden": 1, "pool": 4}
    assert Counter(made.halves) == {"mine": 1, "gauge": 1, None: 6}


@st.composite
def layouts(draw):
    sizes = draw(st.lists(st.integers(1, 9), min_size=6, max_size=40))
    unit = np.repeat(np.arange(len(sizes)), sizes)
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(unit)


@settings(max_examples=80, deadline=None)
@given(layouts(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_units_stay_whole_nothing_is_empty_and_order_does_not_matter(unit, seed, shuffler):
    if len(unit) < 8:
        return
    made = split(unit, seed=seed)
    sides = {}
    for number, side, half in zip(unit.tolist(), made.splits, made.halves, strict=True):
        assert sides.setdefault(number, (side, half)) == (side, half)
        assert (half is None) == (side is not Split.VAL)
    assert set(made.splits) == set(Split)
    assert set(made.halves) == {None, Half.MINE, Half.GAUGE}
    order = list(range(len(unit)))
    shuffler.shuffle(order)
    ids = [f"s{i:06}" for i in order]
    again = split(7 * unit[order], seed=seed, ids=ids)
    assert list(again.splits) == [made.splits[i] for i in order]
    assert list(again.halves) == [made.halves[i] for i in order]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=80, max_size=120), st.integers(0, 99))
def test_counts_are_exact_where_many_small_units_allow_it(sizes, seed):
    sizes = [*sizes, 1, 1, 1, 1]
    made = split(np.repeat(np.arange(len(sizes)), sizes), seed=seed)
    n = sum(sizes)
    counts, halves = Counter(made.splits), Counter(made.halves)
    assert abs(counts["test"] - 0.15 * n) <= 1
    assert abs(counts["val"] - 0.15 * n) <= 1
    assert abs(counts["golden"] - golden_count(n)) <= 1
    assert abs(halves["mine"] - halves["gauge"]) <= 2


def test_large_groups_have_no_favourite_split():
    sizes = np.array([10] * 10 + [1] * 300)
    unit = np.repeat(np.arange(len(sizes)), sizes)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])[:10]
    where = Counter(split(unit, seed=seed).splits[row] for seed in range(150) for row in first)
    assert where["test"] / 1500 == pytest.approx(0.15, abs=0.035)
    assert where["val"] / 1500 == pytest.approx(0.15, abs=0.035)
    assert where["golden"] / 1500 == pytest.approx(50 / 400, abs=0.035)


def test_one_huge_group_goes_to_the_pool_and_the_rest_is_shared_out():
    made = split([0] * 300 + list(range(1, 31)))
    assert set(made.splits[:300]) == {Split.POOL}
    counts = Counter(made.splits[300:])
    assert counts["test"] == counts["golden"] == counts["val"] == 10
    assert Counter(made.halves[300:])["mine"] == 5
    assert made.notes[0] == "test has 10 images, 50 were due: groups stay whole"


def test_five_patients_are_enough_and_four_are_not():
    made = split(np.repeat(np.arange(5), [40, 10, 10, 10, 10]))
    assert Counter(made.splits) == {"test": 10, "val": 20, "golden": 10, "pool": 40}
    with pytest.raises(SettingsError, match=r"form 4 units that stay whole[\s\S]*split\.group"):
        split(np.repeat(np.arange(4), 20))
    with pytest.raises(SettingsError, match="form 1 units"):
        split([0] * 100)


@pytest.mark.parametrize(
    ("n", "shares"),
    [
        (7, Shares()),
        (0, Shares()),
        (100, Shares(val=0.0)),
        (100, Shares(test=-0.1)),
        (100, Shares(test=float("nan"))),
        (100, Shares(golden=-1)),
        (100, Shares(golden=70)),
        (100, Shares(test=0.5, val=0.45)),
    ],
)
def test_shares_that_cannot_be(n, shares):
    with pytest.raises(SettingsError):
        split(np.arange(n), shares=shares)
    with pytest.raises(InputError):
        assign(["a"], units=np.arange(2), shares=shares, rng=np.random.default_rng(0))


def test_seeds_differ_and_repeat():
    assert split(np.arange(100), seed=1) == split(np.arange(100), seed=1)
    assert split(np.arange(100), seed=1) != split(np.arange(100), seed=2)


# --- units -----------------------------------------------------------------------------------


def test_groups_and_near_duplicates_make_units():
    found = units(["b", None, "a", "b", None, None], np.array([[5, 1]]))
    assert found.units.tolist() == [0, 1, 2, 0, 3, 1]
    assert found.broken.shape == (0, 2)
    assert found.notes == ()


def test_pairs_that_would_make_a_unit_too_large_come_back():
    groups = ["video"] * 5 + [None] * 95
    found = units(groups, np.array([[4, 5], [6, 7], [7, 8], [2, 3]]))
    assert np.bincount(found.units)[:3].tolist() == [5, 1, 2]
    assert found.broken.tolist() == [[4, 5], [7, 8]]
    assert "2 near-duplicate pairs were left apart" in found.notes[0]
    wider = units(groups, np.array([[4, 5], [6, 7], [7, 8]]), limit_share=0.06)
    assert wider.broken.shape == (0, 2)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=20),
    st.sampled_from([0.02, 0.2, 0.5]),
)
def test_units_hold_groups_whole_and_obey_the_limit(groups, links, share):
    n = len(groups)
    pairs = np.array([p for p in links if max(p) < n], dtype=np.int64).reshape(-1, 2)
    found = units(groups, pairs, limit_share=share)
    apart = {tuple(p) for p in found.broken.tolist()}
    for a in range(n):
        for b in range(a):
            if groups[a] is not None and groups[a] == groups[b]:
                assert found.units[a] == found.units[b]
    for a, b in pairs.tolist():
        assert (found.units[a] == found.units[b]) or (min(a, b), max(a, b)) in apart
    declared = Counter(group for group in groups if group is not None)
    for number in np.unique(found.units):
        members = np.flatnonzero(found.units == number)
        largest = max((declared[groups[i]] for i in members), default=0)
        assert len(members) <= max(2, int(share * n), largest)
    _, first = np.unique(found.units, return_index=True)
    assert (np.diff(first) > 0).all()


# --- leaks and the lock ----------------------------------------------------------------------


def test_leaks_are_pairs_in_two_splits_or_two_halves():
    made = Assignment(
        (Split.TEST, Split.POOL, Split.VAL, Split.VAL, Split.VAL),
        (None, None, Half.MINE, Half.GAUGE, Half.MINE),
    )
    pairs = np.array([[0, 1], [2, 3], [2, 4]])
    assert leaks(made, pairs).tolist() == [[0, 1], [2, 3]]
    assert leaks(made, NO_PAIRS).shape == (0, 2)


def test_the_digest_is_that_of_the_sorted_lines():
    digest = manifest_digest(["b", "a"], ["val", "test"], ["mine", None])
    assert digest == hashlib.sha256(b"a test \nb val mine\n").hexdigest()
    assert digest == manifest_digest(["a", "b"], ["test", "val"], ["", "mine"])
    assert digest != manifest_digest(["a", "b"], ["test", "val"], ["", "gauge"])
    assert digest == manifest_digest(["a", "b"], [Split.TEST, Split.VAL], [None, Half.MINE])


def test_a_val_split_made_elsewhere_is_halved_by_its_units() -> None:
    ids = [f"{i:03}" for i in range(41)]
    units = np.arange(41) // 3
    halves = halve(ids, units=units, rng=np.random.default_rng(0))
    again = halve(ids[::-1], units=units[::-1], rng=np.random.default_rng(0))
    assert halves == again[::-1]
    for unit in range(14):
        assert len({h for h, u in zip(halves, units, strict=True) if u == unit}) == 1
    mine = sum(h is Half.MINE for h in halves)
    assert abs(2 * mine - 41) <= 3


def test_one_group_cannot_be_halved() -> None:
    with pytest.raises(InputError, match="4 val samples are one group"):
        halve(list("abcd"), units=np.zeros(4, int), rng=np.random.default_rng(0))
