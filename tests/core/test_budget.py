"""The largest batch that a budget pays for."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core.budget import largest_within
from annoloop.records import Pick, Selection


def chosen(costs):
    """`choose` and `cost_of` of a fixed order of images with these costs."""

    def choose(size):
        picks = tuple(Pick(str(i), "coverage", i, 0.0, "") for i in range(min(size, len(costs))))
        return Selection(picks, size, {})

    return choose, lambda batch: sum(costs[int(p.sample_id)] for p in batch.picks)


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
