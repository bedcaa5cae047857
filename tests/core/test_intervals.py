"""Intervals by image: their coverage, and what they refuse to say."""

import numpy as np
import pytest

from annoloop.core.intervals import Resample, design_effect
from annoloop.core.power import Scenario, draw_boxes, draw_errors


def resample(images, draws=400, seed=0):
    return Resample.draw(images, np.random.default_rng(seed), draws=draws)


def test_little_data_has_no_interval():
    assert resample(3).rate(np.array([1.0, 0.0, 2.0]), np.full(3, 5.0)) is None
    assert resample(0).rate(np.zeros(0), np.zeros(0)) is None


def test_no_events_at_all():
    low, high = resample(50).rate(np.zeros(50), np.full(50, 5.0))
    assert low == 0.0
    assert 0.0 < high < 0.02
    low, high = resample(50).rate(np.full(50, 5.0), np.full(50, 5.0))
    assert high == 1.0
    assert 0.98 < low < 1.0


def test_more_extra_boxes_than_reference_boxes():
    events = np.tile([12.0, 3.0], 20)
    low, high = resample(40).rate(events, np.full(40, 5.0))
    assert low < 1.5 < high


def test_errors_that_come_together_widen_the_interval():
    together, apart = np.zeros(60), np.ones(60)
    together[:12] = 5.0
    boxes = np.full(60, 5.0)
    assert design_effect(apart, boxes) == 1.0
    assert design_effect(together, boxes) == pytest.approx(5.0)
    wide, narrow = (resample(60).rate(x, boxes) for x in (together, apart))
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])


def test_the_mean_takes_only_what_counts():
    values = np.array([1.0, np.nan, 3.0, 1.0, 3.0] * 20)
    low, high = resample(100).mean(np.nan_to_num(values), ~np.isnan(values))
    assert 1.5 < low < 2.0 < high < 2.5
    assert resample(5).mean(np.ones(5), np.zeros(5, dtype=bool)) == (0.0, 0.0)


@pytest.mark.parametrize("rate", [0.03, 0.10])
def test_experiment_8_coverage(rate):
    rng, images, repetitions = np.random.default_rng(0), 100, 300
    scenario = Scenario(images, 5.0, 1)
    inside = 0
    for seed in range(repetitions):
        boxes = draw_boxes(scenario, 1, rng=rng)
        right = boxes[0] - draw_errors(boxes, rate, scenario=scenario, passes=1, rng=rng)[0, 0]
        low, high = resample(images, draws=300, seed=seed).rate(
            right.astype(float), boxes[0].astype(float)
        )
        inside += low <= 1.0 - rate <= high
    assert 0.92 - 0.025 <= inside / repetitions <= 0.985
