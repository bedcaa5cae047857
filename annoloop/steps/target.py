"""The test of the target on gauge: one look per model, and the ledger that counts them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from annoloop.core.intervals import Resample, split_in_halves
from annoloop.core.target import (
    ALPHA,
    Floor,
    TargetLook,
    doubt,
    draws_for,
    holm,
    images_needed,
    level_of_look,
    lower_bound,
)
from annoloop.core.weighted_ap import bootstrap
from annoloop.errors import SettingsError
from annoloop.steps.context import Context
from annoloop.steps.ground import Gauge, gauge
from annoloop.store import db, iterations
from annoloop.store.iterations import Iteration

LOOK = "gauge target"
"""The ledger entry of one test of the target."""


def look_at_target(context: Context, iteration: Iteration) -> TargetLook | None:
    """Test the iteration's model against the target; None without a target.

    The same question about the same model and the same gauge is the same look; anything else
    spends another share of alpha, whatever the answer.
    """
    stop = context.settings.stop
    evaluated = iteration.steps["evaluate"].record
    if stop.target is None or evaluated["gauge"]["summary"][stop.metric] is None:
        return None
    question = {
        "model": evaluated["model"],
        "evaluation": iteration.steps["evaluate"].seq,
        "metric": stop.metric,
        "target": stop.target,
        "floors": dict(sorted(stop.floors.items())),
    }
    with context.store.read() as connection:
        ledger = iterations.look_records(connection, LOOK)
    asked = [one["question"] for one in ledger]
    known = question in asked
    number = asked.index(question) if known else len(ledger)
    spent = [float(one["level"]) for one in ledger[:number]]
    level = float(ledger[number]["level"]) if known else level_of_look(spent, looks=stop.looks)
    made = _look(context, gauge(context, str(question["model"])), level=level, look=number + 1)
    if not known:
        with context.store.write() as connection:
            db.look(
                connection,
                what=LOOK,
                iteration=iteration.number,
                who=context.who,
                at=context.now(),
                details={"question": question, "level": level, "low": made.low, "met": made.met},
            )
    return made


def _look(context: Context, on: Gauge, *, level: float, look: int) -> TargetLook:
    stop = context.settings.stop
    target = stop.target or 0.0
    (table,) = on.tables.values()
    rng = np.random.default_rng([context.settings.select.seed, 5])
    count = draws_for(level, tests=max(1, len(stop.floors)), images=max(1, len(on.groups)))
    draws = Resample.draw(len(on.groups), rng, draws=count, groups=on.groups).weights
    units = len(set(on.groups) - {None}) + on.groups.count(None)
    halves = split_in_halves(len(on.groups), rng, groups=on.groups)
    found = bootstrap(table, draws, metric=stop.metric, halves=halves)
    low = lower_bound(found, level or ALPHA / stop.looks, units=units)
    classes = {name: _class_id(name, table.classes) for name in stop.floors}
    each = {
        name: bootstrap(table, draws, metric=stop.metric, class_id=place, halves=halves)
        for name, place in classes.items()
    }
    doubts = {
        name: doubt(each[name], bound=floor, level=level, units=units)
        for name, floor in stop.floors.items()
    }
    held = holm(doubts, level=level)
    floors = tuple(
        Floor(
            name,
            None if np.isnan(each[name].value) else each[name].value,
            floor,
            doubts[name],
            held[name],
        )
        for name, floor in stop.floors.items()
    )
    return TargetLook(
        value=found.value,
        low=low,
        level=level,
        look=look,
        looks=stop.looks,
        target=target,
        met=level > 0 and low >= target and all(one.met for one in floors),
        needed_images=images_needed(found.value, low, target, images=len(on.groups)),
        floors=floors,
    )


def _class_id(name: str, classes: Sequence[str]) -> int:
    if name in classes:
        return list(classes).index(name)
    near = difflib.get_close_matches(name, classes, n=1)
    raise SettingsError(
        f"annoloop.toml: stop.floors names the class {name!r}, which is not in the schema",
        fix=f"Did you mean {near[0]}?" if near else f"Classes here: {', '.join(classes)}.",
    )
