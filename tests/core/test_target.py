import numpy as np
import pytest

from annoloop.core.target import doubt, draws_for, holm, images_needed, level_of_look


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


def test_doubt_is_where_the_lower_bound_meets_the_bound():
    drawn = np.random.default_rng(0).normal(0.6, 0.05, 20_000)
    value = float(np.median(drawn))
    assert doubt(value, drawn, bound=0.6 - 1.645 * 0.05) == pytest.approx(0.05, abs=0.01)
    assert doubt(value, drawn, bound=value) == pytest.approx(0.5, abs=0.02)
    assert doubt(value, drawn, bound=0.1) < 1e-4
    assert doubt(value, drawn, bound=0.9) > 0.999
    assert doubt(float("nan"), drawn, bound=0.1) == 1.0
    assert doubt(0.5, np.empty(0), bound=0.1) == 1.0


def test_a_biased_bootstrap_is_corrected():
    drawn = np.random.default_rng(0).normal(0.63, 0.05, 20_000)  # its draws lie above the value
    plain = float((drawn < 0.55).mean())
    assert doubt(0.6, drawn, bound=0.55) > 2 * plain


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
