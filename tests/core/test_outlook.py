from dataclasses import replace

import numpy as np
import pytest

from annoloop.core.outlook import Observation, Plan, Rates, look_ahead, seed_noise

RATES = Rates(10.0, 7.0, per_hour=36.0)


def points(values, *, step=50, sigma=0.004):
    return [
        Observation(f"v{i}", step * (i + 1), 3 * step * (i + 1), value, sigma)
        for i, value in enumerate(values)
    ]


def ahead(values, plan, *, rates=RATES, seed=0):
    return look_ahead(points(values), plan, rates, rng=np.random.default_rng(seed))


RISING = [0.40, 0.50, 0.555, 0.59, 0.612]
FLAT = [0.40, 0.56, 0.6, 0.601, 0.6, 0.601, 0.6]
PLAN = Plan(batch=50, target=0.65, delta=0.005)


def test_the_next_batch_has_a_gain_with_a_band_and_a_price():
    found = ahead(RISING, PLAN)
    assert found.why_not is None
    assert found.points == 5
    assert 0.005 < found.gain.low < found.gain.median < found.gain.high < 0.04
    assert found.gain.median == pytest.approx(0.016, abs=0.006)
    assert found.batch.images == 50
    assert found.batch.boxes == pytest.approx(150)
    assert found.batch.minutes == pytest.approx((50 * 10 + 150 * 7) / 60)
    assert found.batch.money == pytest.approx(found.batch.minutes / 60 * 36)
    assert not found.flat
    assert found.pays is None


def test_fewer_than_four_points_say_so():
    found = ahead(RISING[:3], PLAN)
    assert found.why_not == "the learning curve has 3 of the 4 points that a forecast needs"
    assert found.gain is None
    assert found.needed is None
    assert not found.flat
    twice = [*points(RISING[:3]), points(RISING[:3])[-1]]
    again = look_ahead(twice, PLAN, RATES, rng=np.random.default_rng(0))
    assert again.points == 3


def test_nothing_is_said_beyond_three_times_the_last_size():
    found = ahead(RISING, Plan(batch=501, target=0.65, delta=0.005))
    assert found.gain is None
    assert found.why_not == "the next 501 images go beyond 3 times the 250 labelled"
    assert max(found.picture["sizes"]) == 750
    far = ahead(RISING, Plan(batch=50, target=0.95, delta=0.005))
    assert far.needed.images.median is None
    assert far.needed.reach < 0.1


def test_how_far_the_target_is():
    found = ahead(RISING, PLAN).needed
    assert found.images.low < found.images.median < (found.images.high or 10**9)
    assert 50 < found.images.median < 400
    assert found.reach > 0.7
    assert found.price.boxes == pytest.approx(3 * found.price.images)
    there = ahead(RISING, Plan(batch=50, target=0.5, delta=0.005)).needed
    assert there.images.median == 0
    assert ahead(RISING, Plan(batch=50, target=None, delta=0.005)).needed is None


def test_a_flat_curve_is_flat_and_a_rising_one_is_not():
    assert ahead(FLAT, PLAN).flat
    assert not ahead(RISING, PLAN).flat
    assert not ahead(FLAT, Plan(batch=50, target=None, delta=0.0)).flat


def test_a_gain_that_does_not_pay_is_flat_too():
    cheap = Plan(batch=50, target=None, delta=0.0, value_of_point=100.0)
    dear = Plan(batch=50, target=None, delta=0.0, value_of_point=1.0)
    assert ahead(RISING, cheap).pays > 0.9
    assert not ahead(RISING, cheap).flat
    assert ahead(RISING, dear).pays < 0.1
    assert ahead(RISING, dear).worth == pytest.approx(1.6, abs=0.6)
    assert ahead(RISING, dear).flat
    unpriced = ahead(RISING, dear, rates=Rates(10.0, 7.0))
    assert unpriced.pays is None
    assert unpriced.batch.money is None


def test_noise_of_seeds_is_pooled_over_repeats():
    assert seed_noise([]) is None
    assert seed_noise([[0.5], [0.6]]) is None
    assert seed_noise([[0.5, 0.52], [0.7]]) == pytest.approx(0.01 * np.sqrt(2))
    assert seed_noise([[0.5, 0.52], [0.6, 0.6, 0.6]]) == pytest.approx(np.sqrt(0.0002 / 3))


def test_the_picture_shows_where_points_count_and_the_next_batch():
    picture = ahead(RISING, PLAN).picture
    assert picture["sizes"][0] == 100
    assert picture["sizes"][-1] == 375
    assert ahead(RISING, replace(PLAN, batch=300)).picture["sizes"][-1] == 550
    assert len({len(row) for row in picture.values()}) == 1
    for low, middle, high in zip(picture["low"], picture["median"], picture["high"], strict=True):
        assert low <= middle <= high
