"""Totals of whole groups against trying out every subset."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.packing import Packing, fullest, nearest_total

SIZES = st.lists(st.integers(1, 12), max_size=9)


def all_totals(sizes):
    return {sum(c) for r in range(len(sizes) + 1) for c in combinations(sizes, r)}


@settings(max_examples=200, deadline=None)
@given(SIZES, st.integers(0, 40))
def test_fullest_is_the_largest_total_that_fits(sizes, room):
    assert fullest(sizes, room) == max(t for t in all_totals(sizes) if t <= room)


@settings(max_examples=200, deadline=None)
@given(SIZES, st.integers(-3, 40), st.integers(0, 3))
def test_nearest_total_is_the_nearest_and_of_two_the_smaller(sizes, goal, at_least):
    allowed = [t for t in all_totals(sizes) if t >= at_least]
    near = max(goal, at_least)
    expected = min(allowed, key=lambda t: (abs(t - near), t)) if allowed else None
    assert nearest_total(sizes, goal, at_least=at_least) == expected


@settings(max_examples=200, deadline=None)
@given(SIZES, st.integers(0, 40), st.randoms(use_true_random=False))
def test_any_order_ends_at_the_goal(sizes, room, shuffler):
    goal = fullest(sizes, room)
    packing = Packing(sizes, goal)
    order = list(sizes)
    shuffler.shuffle(order)
    assert sum(size for size in order if packing.take(size)) == goal
    assert packing.room == 0


def test_a_group_that_would_block_a_fuller_batch_is_refused():
    packing = Packing([4, 3, 3], fullest([4, 3, 3], 6))
    assert [packing.take(size) for size in (4, 3, 3)] == [False, True, True]
    assert packing.closed == {4}


def test_a_hundred_thousand_groups_are_no_matter():
    sizes = [2 + i % 18 for i in range(100_000)]
    packing = Packing(sizes, fullest(sizes, 200_001))
    assert sum(size for size in sizes if packing.take(size)) == 200_001


def test_a_goal_out_of_reach_is_refused():
    with pytest.raises(ValueError, match="members together"):
        Packing([2, 2], 3)
