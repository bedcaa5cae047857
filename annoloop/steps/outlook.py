"""What the next batch should bring and cost: the learning curve that the iterations have drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from annoloop.core.outlook import Observation, Outlook, Plan, Rates, look_ahead, seed_noise
from annoloop.records import Split, Status
from annoloop.steps.blind import default_size
from annoloop.steps.context import Context
from annoloop.steps.train import TRAINING_KINDS
from annoloop.store import batches, iterations, samples
from annoloop.store.iterations import Iteration

CHANGES = {
    "trainer": "the trainer",
    "options": "the trainer's options",
    "classes": "the classes",
    "mix": "the mix of strategies",
    "embedder": "the embedder",
    "gauge": "the gauge set",
}


def outlook(context: Context, history: Sequence[Iteration]) -> tuple[Outlook, tuple[str, ...]]:
    """The forecast at the newest iteration of `history`, and why its curve starts where it does."""
    settings = context.settings
    metric = settings.stop.metric
    curve, why = same_curve(history)
    with context.store.read() as connection:
        trained = iterations.step_history(connection, "train")
        evaluated = iterations.step_history(connection, "evaluate")
        counts = samples.counts(connection)
    measured = seed_noise(_repeats(trained, evaluated, metric))
    noise = settings.stop.seed_noise if measured is None else measured
    left = sum(counts.get((Split.POOL, s), 0) for s in (Status.UNLABELED, Status.PENDING))
    plan = Plan(
        batch=default_size(context, left, first=False) if left else 0,
        target=settings.stop.target,
        delta=settings.stop.delta,
        value_of_point=settings.cost.value_per_point,
    )
    points = [
        point for one in curve if (point := _observation(one, metric, noise=noise)) is not None
    ]
    rng = np.random.default_rng([settings.select.seed, len(points), 6])
    return look_ahead(points, plan, rates(context), rng=rng), why


def same_curve(history: Sequence[Iteration]) -> tuple[list[Iteration], tuple[str, ...]]:
    """The newest iterations that belong to one curve, oldest first, and what ended the older one.

    A curve goes on while trainer, options, classes, mix and gauge stay what they are: points that
    another recipe made say nothing of where this one goes.
    """
    done = [one for one in history if "evaluate" in one.steps]
    kept: list[Iteration] = []
    recipe: dict[str, Any] = {}
    for one in reversed(done):
        own = _recipe(one)
        changed = [name for name, value in own.items() if recipe.get(name, value) != value]
        if changed:
            what = " and ".join(CHANGES[name] for name in changed)
            return kept[::-1], (f"the curve starts at {kept[-1].name}, where {what} changed",)
        recipe |= own
        kept.append(one)
    return kept[::-1], ()


def _recipe(one: Iteration) -> dict[str, Any]:
    """What has to stay as it is; what an older version did not record is left out."""
    trained, found = one.steps["train"].record, one.steps["evaluate"].record
    chosen = one.steps["select"].record
    recipe = {
        "trainer": trained["trainer"],
        "options": trained.get("options"),
        "classes": sorted(trained["boxes_by_class"]),
        # The first batch has no failures and no model to go by: it is no change of strategy.
        "mix": chosen.get("mix") if one.number else None,
        "embedder": _vectors(chosen.get("embedder")) if one.number else None,
        "gauge": [found["gauge"]["images"], found["gauge"]["boxes"]],
    }
    return {name: value for name, value in recipe.items() if value is not None}


def _vectors(name: str | None) -> str | None:
    """Vectors of the newest model have another name each time, and are the same recipe."""
    return "detector" if name and name.startswith("detector-") else name


def _observation(one: Iteration, metric: str, *, noise: float) -> Observation | None:
    trained, found = one.steps["train"].record, one.steps["evaluate"].record
    value = found["gauge"]["summary"][metric]
    if value is None:
        return None
    known: Mapping[str, Any] = found.get("noise") or {}
    spread = known.get("sd") if known.get("metric") == metric else None
    sigma = float(np.hypot(spread, noise)) if spread is not None else float("nan")
    return Observation(one.name, int(trained["images"]), int(trained["boxes"]), float(value), sigma)


def _repeats(trained: Sequence[Any], evaluated: Sequence[Any], metric: str) -> list[list[float]]:
    """Values of the same data and trainer with different seeds: what training alone moves."""
    made = {one.record["model"]: one for one in trained}
    found: dict[tuple[Any, ...], dict[int, float]] = {}
    for one in evaluated:
        model = made.get(one.record["model"])
        value = one.record["gauge"]["summary"][metric]
        if model is None or value is None:
            continue
        record = model.record
        images = one.record["gauge"]["images"], one.record["gauge"]["boxes"]
        alike = (one.iteration, record["trainer"], record["images"], record["boxes"], *images)
        found.setdefault(alike, {})[int(record["seed"])] = float(value)
    return [list(group.values()) for group in found.values()]


def rates(context: Context) -> Rates:
    """Prices as set; seconds as people took them, where answers of the pool say how long."""
    cost = context.settings.cost
    given = Rates(
        seconds_per_image=cost.seconds_per_image,
        seconds_per_box=cost.seconds_per_box,
        per_image=cost.per_image,
        per_box=cost.per_box,
        per_hour=cost.per_hour,
        per_training=cost.per_training,
        currency=cost.currency,
    )
    with context.store.read() as connection:
        kinds = {b.name: b.kind for b in batches.load_all(connection)}
        timed = [
            one
            for one in batches.load_annotations(connection, split=Split.POOL)
            if one.seconds is not None and kinds[one.batch] in TRAINING_KINDS
        ]
    if not timed:
        return given
    seconds = sum(one.seconds or 0.0 for one in timed)
    guessed = sum(
        given.seconds_per_image + len(one.labels) * given.seconds_per_box for one in timed
    )
    if not guessed:
        return replace(given, seconds_per_image=seconds / len(timed))
    # What was measured sets the pace; how it divides over images and boxes stays as set.
    pace = seconds / guessed
    return replace(
        given,
        seconds_per_image=given.seconds_per_image * pace,
        seconds_per_box=given.seconds_per_box * pace,
    )
