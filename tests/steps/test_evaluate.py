"""`evaluate`: what it stores for those who weigh images, and how sure the metric is."""

from __future__ import annotations

import numpy as np
import pytest

from annoloop.core.intervals import Resample
from annoloop.core.weighted_ap import average_precision, compare
from annoloop.project import Project
from annoloop.steps.ground import gauge
from annoloop.store import iterations


def test_the_noise_of_the_gauge_metric_is_stored(evaluated: Project) -> None:
    with evaluated.store.read() as connection:
        record = iterations.step_history(connection, "evaluate")[-1].record
    noise = record["noise"]
    assert noise["metric"] == "AP50"
    assert noise["value"] == pytest.approx(record["gauge"]["summary"]["AP50"], abs=1e-9)
    assert 0 < noise["sd"] < 0.5
    assert noise["low"] <= noise["value"] <= noise["high"]


def test_tables_of_every_iteration_are_rebuilt_and_compared_in_pairs(evaluated: Project) -> None:
    evaluated.run(iterations=1, annotator="oracle")
    context = evaluated._context()
    measured = gauge(context, "v0", "v1")
    with evaluated.store.read() as connection:
        done = iterations.step_history(connection, "evaluate")
    for step in done:
        found = average_precision(measured.tables[step.record["model"]]).overall()[0]
        assert found == pytest.approx(step.record["gauge"]["summary"]["AP"], abs=1e-9)
    draws = Resample.draw(
        len(measured.groups), np.random.default_rng(0), draws=200, groups=measured.groups
    ).weights
    gain = compare(measured.tables["v0"], measured.tables["v1"], draws)
    first, second = (step.record["gauge"]["summary"]["AP"] for step in done)
    assert gain.value == pytest.approx(second - first, abs=1e-9)
