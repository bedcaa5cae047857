"""How sure the stop metric on gauge is, and its gain since the iteration before."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from annoloop.core.intervals import Resample, split_in_halves
from annoloop.core.weighted_ap import Uncertain, bootstrap, compare
from annoloop.steps.context import Context
from annoloop.steps.ground import gauge
from annoloop.store import iterations
from annoloop.store.iterations import Iteration

DRAWS, CELLS = 1_000, 20_000_000
"""Bootstrap draws of the gauge metric, and images × draws at most: fewer draws of a huge gauge."""


def how_sure(
    context: Context, iteration: Iteration, model: str
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """How far the stop metric would move with other images, and its gain since the model before.

    Groups are drawn whole. Each has `metric`, its `value`, `sd`, and the 95 % interval `low` to
    `high`; the gain is paired, on the same images and today's labels, and names the model in
    `since`. It is None where no earlier iteration has a model that can still be compared.
    """
    before = _model_before(context, iteration)
    on = gauge(context, *(name for name in (before, model) if name is not None))
    metric = context.settings.stop.metric
    rng = np.random.default_rng([context.settings.select.seed, 4])
    count = min(DRAWS, max(CELLS // len(on.groups), 100))
    draws = Resample.draw(len(on.groups), rng, draws=count, groups=on.groups).weights
    halves = split_in_halves(len(on.groups), rng, groups=on.groups)
    noise = _numbers(metric, bootstrap(on.tables[model], draws, metric=metric, halves=halves))
    if before is None:
        return noise, None
    found = compare(on.tables[before], on.tables[model], draws, metric=metric)
    return noise, {"since": before, **_numbers(metric, found)}


def _model_before(context: Context, iteration: Iteration) -> str | None:
    """The last evaluated model of an earlier iteration that can still say what it sees."""
    with context.store.read() as connection:
        done = iterations.step_history(connection, "evaluate")
    earlier = [str(one.record["model"]) for one in done if one.iteration < iteration.number]
    return earlier[-1] if earlier and context.model_folder(earlier[-1]).is_dir() else None


def _numbers(metric: str, found: Uncertain) -> dict[str, Any]:
    if isnan(found.value):
        return {"metric": metric, "value": None, "sd": None, "low": None, "high": None}
    low, high = found.interval()
    return {"metric": metric, "value": found.value, "sd": found.sd, "low": low, "high": high}
