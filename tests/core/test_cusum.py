"""The guarded cumulative sum: written-out steps, and why the guard is there."""

import numpy as np
import pytest

from annoloop.core import cusum as module
from annoloop.core.cusum import cusum, guarded_rate
from annoloop.core.power import Scenario, draw_boxes, draw_errors


def test_the_path_is_the_sum_of_likelihood_ratios():
    errors, boxes = np.zeros(100), np.full(100, 5.0)
    errors[:15] = 1.0
    looks = [(15.0, 500.0), (60.0, 500.0), (60.0, 500.0)]
    found = cusum(errors, boxes, looks, planned=20, alpha=0.05, rng=np.random.default_rng(0))
    assert found.usual == pytest.approx(0.03)
    assert found.guarded == pytest.approx(0.03 + 1.645 * np.sqrt(0.03 * 0.97 / 500))
    assert found.drifted == pytest.approx(found.guarded + 0.05)
    up = np.log(found.drifted / found.guarded)
    down = np.log((1 - found.drifted) / (1 - found.guarded))
    level, path = 0.0, []
    for happened, size in looks:
        level = max(0.0, level + happened * up + (size - happened) * down)
        path.append(level)
    assert found.path == pytest.approx(path)
    assert found.path[0] == 0.0
    assert found.alarm == 2


def test_a_baseline_without_errors_is_not_believed():
    assert guarded_rate(0.0, 300.0, effect=1.0, guard=1.645) > 0.5 / 300.0
    found = cusum(
        np.zeros(60), np.full(60, 5.0), [(1.0, 300.0)], planned=5, alpha=0.05,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    assert found.alarm is None


def histories(rates, *, guard, repetitions=60, seed=0):
    """Shares of histories with an alarm by the first, second, … look."""
    scenario, rng = Scenario(50, 5.0, 3), np.random.default_rng(seed)
    boxes = draw_boxes(scenario, repetitions, rng=rng)
    before = draw_errors(boxes, 0.03, scenario=scenario, passes=3, rng=rng)
    looks = [draw_errors(boxes, r, scenario=scenario, passes=1, rng=rng)[:, 0] for r in rates]
    first = np.full(repetitions, np.inf)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "DRAWS", 1_000)
        patch.setattr(module, "GUARD", guard)
        for r in range(repetitions):
            sequence = [(float(one[r].sum()), float(boxes[r].sum())) for one in looks]
            found = cusum(
                before[r].ravel().astype(float), np.tile(boxes[r], 3).astype(float), sequence,
                planned=20, alpha=0.05, rng=rng,
            )  # fmt: skip
            first[r] = found.alarm or np.inf
    return [(first <= t).mean() for t in range(1, len(rates) + 1)]


def test_experiment_5_the_guard_keeps_false_alarms_low():
    quiet, rates = histories([0.03] * 20, guard=1.645)[-1], [0.03] * 20
    assert quiet <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    assert histories(rates, guard=0.0, repetitions=120)[-1] > 0.10


def test_experiment_5_small_drift_is_found_by_the_third_look():
    assert histories([0.10] * 3, guard=1.645)[-1] >= 0.85
