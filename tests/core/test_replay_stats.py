"""Statistics of replay: exact where a definition exists, error rates where one is promised."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from annoloop.core import replay_stats as stats

numbers = st.floats(-1, 1, allow_nan=False).map(lambda v: round(v, 3))


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@given(st.lists(numbers, min_size=1, max_size=8))
def test_the_p_value_counts_all_sign_flips(differences: list[float]) -> None:
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    wanted = np.mean([one >= abs(sum(differences)) - 1e-9 for one in sums])
    assert stats.sign_flip_p(np.array(differences), rng=rng()) == pytest.approx(wanted)


@given(st.lists(numbers, min_size=2, max_size=10))
def test_p_is_symmetric_and_never_below_what_the_seeds_allow(differences: list[float]) -> None:
    one = stats.paired(differences, rng=rng())
    other = stats.paired([-d for d in differences], rng=rng())
    assert one.p == pytest.approx(other.p)
    assert one.least_p - 1e-12 <= one.p <= 1
    assert one.low is not None
    assert one.high is not None
    assert one.low <= one.mean <= one.high


def test_random_flips_agree_with_all_flips() -> None:
    many = np.random.default_rng(3).normal(0.4, 1.0, 20)
    exact = np.mean(
        [
            abs(np.dot(1 - 2.0 * ((k >> np.arange(20)) & 1), many)) >= abs(many.sum())
            for k in range(0, 2**20, 37)  # a thirty-seventh of them
        ]
    )
    assert stats.sign_flip_p(many, rng=rng()) == pytest.approx(exact, abs=0.01)


def test_one_seed_says_nothing() -> None:
    one = stats.paired([0.3], rng=rng())
    assert (one.p, one.low, one.sd) == (1.0, None, None)
    with pytest.raises(ValueError):
        stats.paired([], rng=rng())


def test_false_alarms_of_the_verdict_stay_below_their_level() -> None:
    """Three arms that differ from the baseline by chance only: any verdict in 5 % at most."""
    draw = np.random.default_rng(1)
    wrong, worlds = 0, 1_000
    for _ in range(worlds):
        baseline = draw.standard_t(4, 8)
        ps = [stats.sign_flip_p(draw.standard_t(4, 8) - baseline, rng=rng()) for _ in range(3)]
        wrong += min(stats.holm(ps)) <= stats.ALPHA
    assert wrong / worlds <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / worlds)


@pytest.mark.parametrize("effect", [0.8, 1.2])
def test_the_number_of_seeds_finds_what_it_promises(effect: float) -> None:
    needed = stats.seeds_needed(1.0, effect)
    draw = np.random.default_rng(2)
    found = [
        stats.sign_flip_p(draw.normal(effect, 1.0, needed), rng=rng()) <= stats.ALPHA
        for _ in range(300)
    ]
    assert 0.68 <= np.mean(found) <= 0.95


def test_fewest_seeds_are_those_that_can_reach_the_level() -> None:
    for alpha in (0.05, 0.05 / 2, 0.05 / 3, 0.01):
        fewest = stats.fewest_seeds(alpha)
        assert stats.sign_flip_p(np.ones(fewest), rng=rng()) <= alpha
        assert stats.sign_flip_p(np.ones(fewest - 1), rng=rng()) > alpha


def test_more_noise_and_smaller_effects_need_more_seeds() -> None:
    assert stats.seeds_needed(0.0, 0.01) == 6
    assert stats.seeds_needed(0.02, 0.01) == 34  # the textbook's paired t test
    assert stats.seeds_needed(0.04, 0.01) > stats.seeds_needed(0.02, 0.01)
    with pytest.raises(ValueError):
        stats.seeds_needed(0.1, 0.0)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_lies_between_p_and_bonferroni(ps: list[float]) -> None:
    adjusted = stats.holm(ps)
    for p, q in zip(ps, adjusted, strict=True):
        assert p <= q <= min(1.0, p * len(ps)) + 1e-12
    ranked = sorted(range(len(ps)), key=lambda i: ps[i])
    assert [adjusted[i] for i in ranked] == sorted(adjusted)


curves = st.lists(numbers, min_size=2, max_size=8)


@given(curves)
def test_area_is_a_mean_height(ys: list[float]) -> None:
    xs = [10.0 * k for k in range(len(ys))]
    whole = stats.area(xs, ys, low=xs[0], high=xs[-1])
    assert min(ys) - 1e-9 <= whole <= max(ys) + 1e-9
    assert stats.area(xs, [2.0] * len(xs), low=3.0, high=7.0) == pytest.approx(2.0)
    middle = xs[-1] / 3
    left = stats.area(xs, ys, low=xs[0], high=middle)
    right = stats.area(xs, ys, low=middle, high=xs[-1])
    assert whole == pytest.approx((left * middle + right * (xs[-1] - middle)) / xs[-1], abs=1e-9)


@given(curves, st.floats(-1, 1))
def test_the_first_reach_lies_on_the_curve(ys: list[float], target: float) -> None:
    xs = [10.0 * k for k in range(len(ys))]
    where = stats.first_reach(xs, ys, target)
    if math.isinf(where):
        assert max(ys) < target
    elif ys[0] < target:
        assert stats.value_at(xs, ys, np.array([where]))[0] == pytest.approx(target, abs=1e-6)
        assert all(y < target for x, y in zip(xs, ys, strict=True) if x < where - 1e-9)


def test_retraining_sd_is_that_of_one_training() -> None:
    draw = np.random.default_rng(5)
    first, again = draw.normal(0.5, 0.02, 4000), draw.normal(0.5, 0.02, 4000)
    assert stats.retraining_sd(first, again) == pytest.approx(0.02, rel=0.05)


def test_a_band_of_one_run_has_no_width() -> None:
    mean, half = stats.bands(np.array([[[0.1, 0.2]]]))
    assert mean.tolist() == [[0.1, 0.2]]
    assert not half.any()


def test_bands_leave_out_what_a_seed_does_to_all_arms() -> None:
    draw = np.random.default_rng(4)
    seeds = draw.normal(0, 10.0, (1, 12, 1))
    own = draw.normal(0, 1.0, (3, 12, 5))
    means, halves = stats.bands(seeds + own)
    _, without = stats.bands(own)
    assert halves == pytest.approx(without)
    assert means == pytest.approx((seeds + own).mean(axis=1))
    # For two arms the band says what the paired difference says: its interval is √2 times as wide.
    two = own[:2, :, 0]
    _, half = stats.bands(two[..., None])
    paired = stats.paired(two[0] - two[1], rng=rng())
    assert paired.high is not None
    assert half[0, 0] * math.sqrt(2) == pytest.approx(paired.high - paired.mean)
