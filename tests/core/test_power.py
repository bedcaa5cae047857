"""Power by simulation: known values, limits, and what it refuses."""

import numpy as np
import pytest

from annoloop.core.control import LookPlan
from annoloop.core.power import Scenario, draw_boxes, draw_errors, power
from annoloop.errors import InputError


def run(images, to, *, passes=3, plan=None, seed=0, repetitions=300, **kwargs):
    return power(
        Scenario(images, 5.0, passes), usual=0.03, to=to, plan=plan or LookPlan(),
        rng=np.random.default_rng(seed), repetitions=repetitions, **kwargs,
    )  # fmt: skip


def test_experiment_2_ten_points_more_missed_boxes_in_fifty_images():
    found = run(50, 0.13, repetitions=500)
    assert found.power >= 0.85
    assert found.false_alarm <= 0.05
    assert found.power_se == pytest.approx(np.sqrt(found.power * (1 - found.power) / 500))
    assert found.level == pytest.approx(0.001)


def test_experiment_2_with_all_of_alpha_on_missed_boxes():
    all_of_it = LookPlan(shares={"missed": 1.0})
    # methods: 92 % and 97 %, from an independent simulation
    assert run(50, 0.13, plan=all_of_it).power == pytest.approx(0.92, abs=0.06)
    assert run(100, 0.10, plan=all_of_it).power == pytest.approx(0.97, abs=0.05)


def test_more_of_everything_helps():
    assert run(20, 0.10).power < run(100, 0.10).power
    assert run(50, 0.06).power < run(50, 0.13).power
    assert run(50, 0.10, passes=1).power < run(50, 0.10, passes=5).power
    assert run(50, 0.10).power < run(50, 0.10, plan=LookPlan(looks=1)).power


def test_no_change_is_no_power_and_too_few_images_have_none():
    assert run(50, 0.03).power <= 0.02
    few = run(4, 1.0)
    assert (few.power, few.false_alarm, few.at_least) == (0.0, 0.0, 5)


def test_the_same_seed_gives_the_same_numbers():
    assert run(30, 0.1, seed=4, repetitions=50) == run(30, 0.1, seed=4, repetitions=50)


def test_the_simulated_people_have_the_rates_they_are_given():
    rng, scenario = np.random.default_rng(0), Scenario(100, 5.0, 2)
    boxes = draw_boxes(scenario, 400, rng=rng)
    errors = draw_errors(boxes, 0.03, scenario=scenario, passes=2, rng=rng)
    assert errors.shape == (400, 2, 100)
    assert (errors <= boxes[:, None]).all()
    assert boxes.mean() == pytest.approx(5.0, rel=0.03)
    assert (boxes == 0).mean() == pytest.approx(0.11, abs=0.01)
    assert errors.sum() / (2 * boxes.sum()) == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize("wrong", [(0, 5.0, 3), (5, 0.0, 3), (5, 5.0, 0)])
def test_impossible_golden_sets(wrong):
    with pytest.raises(InputError, match="cannot be simulated"):
        Scenario(*wrong)


def test_impossible_rates_and_plans():
    with pytest.raises(InputError, match="no shares"):
        run(10, 1.5)
    with pytest.raises(InputError, match="number of looks"):
        run(10, 0.1, plan=LookPlan(looks=None))
