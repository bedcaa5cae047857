import numpy as np
import pytest

from annoloop.core.target import (
    doubt,
    draws_for,
    expansion,
    holm,
    images_needed,
    level_of_look,
    lower_bound,
)
from annoloop.core.weighted_ap import Uncertain


def test_each_look_has_its_share_of_alpha_and_none_is_left_after_the_last():
    spent = []
    for _ in range(10):
        spent.append(level_of_look(spent, looks=10))
    assert spent == pytest.approx([0.005] * 10)
    assert level_of_look(spent, looks=10) == pytest.approx(0.0, abs=1e-12)


def test_declaring_more_looks_later_spends_only_what_is_left():
    spent = [0.01] * 4  # of 5 declared looks
    assert level_of_look(spent, looks=20) == pytest.approx(0.0025)
    spent = [0.01] * 5
    assert level_of_look(spent, looks=20) == pytest.approx(0.0, abs=1e-12)
    assert level_of_look([0.049], looks=10) == pytest.approx(0.001)


def test_a_rare_level_gets_more_draws_within_reason():
    assert draws_for(0.05) == 1_000
    assert draws_for(0.005) == 4_000
    assert draws_for(0.005, tests=3) == 12_000
    assert draws_for(1e-9) == 20_000
    assert draws_for(0.0) == 1_000
    assert draws_for(0.005, images=20_000) == 2_000
    assert draws_for(0.005, images=10**6) == 1_000


DRAWN = np.random.default_rng(0).normal(0.6, 0.05, 20_000)
MIDDLE = float(np.median(DRAWN))


def test_doubt_is_where_the_lower_bound_meets_the_bound():
    found = Uncertain(MIDDLE, DRAWN)
    for level in (0.05, 0.005):
        for units in (20, 1_000):
            bound = lower_bound(found, level, units=units)
            p = doubt(found, bound=bound, level=level, units=units)
            # The two stretches are the same one only near the level; a look needs no more.
            assert p == pytest.approx(level, rel=0.35)
    many = {"level": 0.05, "units": 10_000}
    assert doubt(found, bound=0.6 - 1.645 * 0.05, **many) == pytest.approx(0.05, abs=0.01)
    assert doubt(found, bound=MIDDLE, **many) == pytest.approx(0.5, abs=0.02)
    assert doubt(found, bound=0.1, **many) < 1e-4
    assert doubt(found, bound=0.9, **many) > 0.999
    assert doubt(Uncertain(float("nan"), DRAWN), bound=0.1, **many) == 1.0
    assert doubt(Uncertain(0.5, np.empty(0)), bound=0.1, **many) == 1.0


def test_a_metric_that_flatters_is_doubted_more():
    plain = doubt(Uncertain(0.6, DRAWN), bound=0.55, level=0.05, units=10_000)
    moved = doubt(Uncertain(0.6, DRAWN + 0.03), bound=0.55, level=0.05, units=10_000)
    assert moved == plain  # where the draws lie does not matter
    flattered = Uncertain(0.6, DRAWN, bias=0.02)
    assert doubt(flattered, bound=0.55, level=0.05, units=10_000) > 1.5 * plain


def test_few_images_are_trusted_less():
    found = Uncertain(MIDDLE, DRAWN)
    assert expansion(0.005, units=300) == pytest.approx(1.01, abs=0.005)
    assert expansion(0.005, units=11) == pytest.approx(1.29, abs=0.02)
    assert lower_bound(found, 0.005, units=11) < lower_bound(found, 0.005, units=300)
    assert doubt(found, bound=0.5, level=0.005, units=11) > (
        doubt(found, bound=0.5, level=0.005, units=300)
    )


def test_holm_stops_at_the_first_that_fails():
    doubts = {"a": 0.001, "b": 0.004, "c": 0.02, "d": 0.03}
    assert holm(doubts, level=0.05) == {"a": True, "b": True, "c": True, "d": True}
    assert holm(doubts, level=0.03) == {"a": True, "b": True, "c": False, "d": False}
    assert holm({"a": 0.04}, level=0.05) == {"a": True}
    assert holm({}, level=0.05) == {}


def test_how_large_gauge_would_have_to_be():
    assert images_needed(0.65, 0.55, 0.60, images=100) == 400
    assert images_needed(0.60, 0.55, 0.60, images=100) is None
    assert images_needed(0.70, 0.60, 0.50, images=100) == 25
