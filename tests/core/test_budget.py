"""The pace of people, and the largest batch that a budget pays for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core.budget import largest_within, pace
from annoloop.records import Pick, Selection


def chosen(costs):
    """`choose` and `cost_of` of a fixed order of images with these costs."""

    def choose(size):
        picks = tuple(Pick(str(i), "coverage", i, 0.0, "") for i in range(min(size, len(costs))))
        return Selection(picks, size, {})

    return choose, lambda batch: sum(costs[int(p.sample_id)] for p in batch.picks)


def test_pace_is_found_and_breaks_do_not_count():
    boxes = np.arange(40) % 7.0
    seconds = 12.0 + 3.0 * boxes
    found = pace(seconds, boxes)
    assert (found.per_image, found.per_box) == pytest.approx((12.0, 3.0))
    seconds[5] = 3_600.0
    assert pace(seconds, boxes).per_image < 14


def test_a_pace_is_never_negative():
    found = pace(np.array([30.0, 20.0, 10.0] * 5), np.array([1.0, 2.0, 3.0] * 5))
    assert found.per_box == 0.0
    assert found.per_image > 0.0


@given(
    costs=st.lists(st.floats(0, 20), min_size=1, max_size=60),
    budget=st.floats(0.01, 400),
    guess=st.integers(-5, 90),
)
def test_the_batch_fits_and_the_next_would_not(costs, budget, guess):
    choose, cost_of = chosen(costs)
    found = largest_within(choose, cost_of, budget=budget, guess=guess, most=len(costs))
    if found is None:
        assert costs[0] > budget
        return
    size = len(found.picks)
    assert cost_of(found) <= budget
    assert size == len(costs) or cost_of(choose(size + 1)) > budget


def test_few_sizes_are_tried():
    rng = np.random.default_rng(0)
    choose, cost_of = chosen(rng.gamma(2.0, 3.0, 5_000).tolist())
    tried = []

    def counted(size):
        tried.append(size)
        return choose(size)

    found = largest_within(counted, cost_of, budget=6_000.0, guess=1_000, most=5_000)
    assert found is not None
    assert len(tried) <= 12
