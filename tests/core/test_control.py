"""The exact permutation test against enumeration, and the budget of looks."""

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from annoloop.core.control import (
    ERROR_SHARES,
    LookPlan,
    critical_sum,
    images_needed,
    p_values,
    permutation_test,
)
from annoloop.core.power import Scenario, draw_boxes, draw_errors
from annoloop.errors import InputError

counts = st.integers(1, 4).flatmap(
    lambda images: st.lists(
        st.lists(st.integers(0, 3), min_size=images, max_size=images), min_size=2, max_size=4
    )
)


@given(counts)
@settings(deadline=None, max_examples=60)
def test_the_p_value_is_the_share_of_all_choices(rows):
    table = np.array(rows)
    sums = [sum(choice) for choice in product(*table.T.tolist())]
    found = permutation_test(table)
    assert found.p_value == pytest.approx(np.mean(np.array(sums) >= table[-1].sum()))
    assert found.smallest_p == pytest.approx(np.mean(np.array(sums) == max(sums)))


@given(counts, st.integers(1, 2))
@settings(deadline=None, max_examples=40)
def test_a_window_chooses_among_all_passes(rows, window):
    table = np.array([rows[0], *rows])
    laws = [[sum(c) for c in combinations(column, window)] for column in table.T.tolist()]
    sums = np.array([sum(choice) for choice in product(*laws)])
    found = permutation_test(table, window=window)
    assert found.p_value == pytest.approx(np.mean(sums >= table[-window:].sum()))


@given(st.lists(st.tuples(*[st.integers(-1, 3)] * 3, st.integers(0, 3)), min_size=1, max_size=5))
@settings(deadline=None, max_examples=60)
def test_each_image_counts_with_the_passes_it_has(columns):
    table = np.array(columns).T
    laws = [[v for v in column if v >= 0] for column in columns]
    kept = [k for k, law in enumerate(laws) if len(law) > 1]
    sums = np.array([sum(choice) for choice in product(*[laws[k] for k in kept])])
    expected = np.mean(sums >= table[-1, kept].sum()) if kept else 1.0
    assert permutation_test(table).p_value == pytest.approx(expected)


def test_many_at_once_are_the_same_numbers():
    drawn = np.random.default_rng(0).poisson(0.4, size=(20, 4, 30))
    assert p_values(drawn) == pytest.approx([permutation_test(one).p_value for one in drawn])


def test_small_p_values_are_exact():
    table = np.zeros((4, 60), dtype=np.int64)
    table[-1] = 1
    found = permutation_test(table)
    assert found.p_value == pytest.approx(0.25**60, rel=1e-12)
    assert (found.smallest_p, found.changed) == (found.p_value, 60)
    nothing = permutation_test(np.zeros((4, 60), dtype=np.int64))
    assert (nothing.p_value, nothing.smallest_p, nothing.changed) == (1.0, 1.0, 0)


def test_fewer_errors_never_alarm():
    table = np.ones((4, 40), dtype=np.int64)
    table[-1] = 0
    assert permutation_test(table).p_value == 1.0


def test_a_window_needs_earlier_passes():
    with pytest.raises(InputError, match="window"):
        permutation_test(np.zeros((2, 5), dtype=np.int64), window=2)


def test_planned_looks_spend_exactly_alpha():
    plan = LookPlan(looks=20, alpha=0.05)
    assert plan.spent(20) == pytest.approx(0.05)
    assert plan.level(4, "missed") == pytest.approx(0.4 * 0.05 / 20)
    assert sum(ERROR_SHARES.values()) == pytest.approx(1.0)
    total = sum(plan.level(t, kind) for t in range(1, 21) for kind in ERROR_SHARES)
    assert total == pytest.approx(0.05)
    with pytest.raises(InputError, match="budget is spent"):
        plan.spend(21)
    with pytest.raises(InputError, match="counted from 1"):
        plan.spend(0)


def test_open_ended_looks_never_spend_more_than_alpha():
    plan = LookPlan(looks=None)
    assert plan.spend(1) == pytest.approx(6 * 0.05 / np.pi**2)
    assert 0.0499 < plan.spent(10_000) < 0.05


@pytest.mark.parametrize("wrong", [{"looks": 0}, {"alpha": 0.0}, {"alpha": 1.0}])
def test_impossible_plans(wrong):
    with pytest.raises(InputError, match="no plan"):
        LookPlan(**wrong)


def test_images_needed_is_the_first_number_that_suffices():
    for passes, level in ((3, 0.001), (3, 0.0005), (1, 0.0005), (5, 0.0005)):
        needed = images_needed(passes, level)
        assert (passes + 1.0) ** -needed <= level < (passes + 1.0) ** -(needed - 1)
    assert images_needed(3, 0.25**5) == 5


@pytest.mark.parametrize("images", [20, 100])
def test_experiment_1_false_alarms_over_twenty_looks(images):
    scenario, rng, plan = Scenario(images, 5.0, 3), np.random.default_rng(1), LookPlan()
    repetitions, rates = 150, {"missed": 0.03, "spurious": 0.01, "class": 0.02, "location": 0.1}
    alarmed = np.zeros(repetitions, dtype=bool)
    for kind, rate in rates.items():
        boxes = draw_boxes(scenario, repetitions, rng=rng)
        before = draw_errors(boxes, rate, scenario=scenario, passes=3, rng=rng)
        for look in range(1, 21):
            new = draw_errors(boxes, rate, scenario=scenario, passes=1, rng=rng)
            p = p_values(np.concatenate([before, new], axis=1))
            alarmed |= p <= plan.level(look, kind)
    assert alarmed.mean() <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / repetitions)


@given(counts, st.floats(0.001, 0.5))
@settings(max_examples=60)
def test_the_critical_sum_is_where_the_p_value_reaches_the_level(rows, level):
    table = np.array(rows)
    sums = np.array([sum(choice) for choice in product(*table.T.tolist())])
    within = [s for s in range(sums.min(), sums.max() + 1) if np.mean(sums >= s) <= level]
    assert critical_sum(table, level) == (min(within) if within else None)
