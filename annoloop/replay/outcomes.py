"""Runs as numbers: one table of outcomes by arm and seed, and the curves behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annoloop.core import replay_stats as stats
from annoloop.replay.plan import Plan
from annoloop.replay.runs import Job, Record, load_records, load_test

AXES = ("images", "boxes", "minutes")
GRID = 25
"""Points of a drawn curve."""

Table = dict[str, dict[str, dict[int, float]]]
"""Outcome → arm → seed → value."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run that reached its budget."""

    job: Job
    records: tuple[Record, ...]
    test: float | None

    def axis(self, name: str) -> list[float]:
        return [float(getattr(one, name)) for one in self.records]

    def metric(self) -> list[float]:
        return [one.metric for one in self.records]

    def rare(self, classes: Sequence[str]) -> list[float] | None:
        """Mean AP of the rare classes that gauge shows; None if it shows none of them."""
        rows = []
        for one in self.records:
            known = [v for c in classes if (v := one.per_class.get(c)) is not None]
            if one.per_class and not known:
                return None
            rows.append(sum(known) / len(known) if known else 0.0)
        return rows


def whole_runs(jobs: Sequence[Job], *, whole: Mapping[int, bool]) -> list[Run]:
    """Runs that are complete, by `whole` at their place in `jobs`, cut at the plan's budget."""
    found = []
    for place, job in enumerate(jobs):
        if whole[place]:
            records = _within(job, load_records(job.records))
            test = load_test(job.records) or {}
            at_end = test.get("iteration") == records[-1].iteration
            found.append(Run(job, tuple(records), test.get("metric") if at_end else None))
    return found


def _within(job: Job, records: list[Record]) -> list[Record]:
    """An earlier, larger budget may have left more."""
    plan = job.plan
    if job.whole_pool:
        return records
    if plan.budget_images is not None:
        return [one for one in records if one.images <= plan.budget_images]
    kept = [one for one in records if one.boxes < (plan.budget_boxes or 0)]
    return records[: len(kept) + 1]


def rare_classes(plan: Plan, boxes: Mapping[str, int]) -> tuple[str, ...]:
    """The classes measured apart: those of the plan, or the least frequent quarter of three up."""
    if plan.rare is not None:
        return plan.rare
    known = [name for name, number in boxes.items() if number]
    if len(known) < 3:
        return ()
    ranked = sorted(known, key=lambda name: (boxes[name], name))
    return tuple(ranked[: max(1, len(known) // 4)])


def ends(runs: Sequence[Run], axis: str) -> dict[int, tuple[float, float]]:
    """Seed → the stretch of an axis that all arms of the seed cover."""
    found: dict[int, tuple[float, float]] = {}
    for run in runs:
        first, last = run.axis(axis)[0], run.axis(axis)[-1]
        low, high = found.get(run.job.seed, (first, last))
        found[run.job.seed] = max(low, first), min(high, last)
    return found


def outcomes(runs: Sequence[Run], rare: Sequence[str]) -> Table:
    """Area under the curve by axis, the metric at the end, on test, and of rare classes."""
    table: Table = {}

    def put(outcome: str, run: Run, value: float) -> None:
        table.setdefault(outcome, {}).setdefault(run.job.arm.name, {})[run.job.seed] = value

    for axis in AXES:
        stretch = ends(runs, axis)
        for run in runs:
            low, high = stretch[run.job.seed]
            put(axis, run, stats.area(run.axis(axis), run.metric(), low=low, high=high))
    stretch = ends(runs, "images")
    for run in runs:
        low, high = stretch[run.job.seed]
        images, end = run.axis("images"), np.array([high])
        put("final", run, float(stats.value_at(images, run.metric(), end)[0]))
        if run.test is not None:
            put("test", run, run.test)
        scarce = run.rare(rare) if rare else None
        if scarce is not None:
            put("rare", run, stats.area(images, scarce, low=low, high=high))
            put("rare final", run, float(stats.value_at(images, scarce, end)[0]))
    return table


Line = list[tuple[float, float, float, float]]
"""(cost, mean, low, high) of a drawn curve."""


def curves(runs: Sequence[Run], axis: str) -> dict[str, Line]:
    """Arm → its curve over the stretch that all runs cover, of the seeds that all arms have."""
    by_arm: dict[str, dict[int, Run]] = {}
    for run in runs:
        by_arm.setdefault(run.job.arm.name, {})[run.job.seed] = run
    shared = sorted(set.intersection(*(set(mine) for mine in by_arm.values())))
    if not shared:
        return {arm: [] for arm in by_arm}
    drawn = [[mine[seed] for seed in shared] for mine in by_arm.values()]
    everyone = [run for mine in drawn for run in mine]
    steps = {tuple(run.axis(axis)) for run in everyone}
    low = max(run.axis(axis)[0] for run in everyone)
    high = min(run.axis(axis)[-1] for run in everyone)
    grid = np.array(steps.pop()) if len(steps) == 1 else np.linspace(low, high, GRID)
    values = [
        [stats.value_at(run.axis(axis), run.metric(), grid) for run in mine] for mine in drawn
    ]
    means, halves = stats.bands(np.array(values))
    return {
        arm: list(zip(grid.tolist(), m.tolist(), (m - h).tolist(), (m + h).tolist(), strict=True))
        for arm, m, h in zip(by_arm, means, halves, strict=True)
    }


def targeted(runs: Sequence[Run]) -> tuple[float | None, float | None]:
    """Share of targeted picks that held the failure's class, and what chance would have given."""
    total: Counter[str] = Counter()
    for run in runs:
        for record in run.records:
            total.update(record.targeted)
    if not total["picks"]:
        return None, None
    return total["held"] / total["picks"], total["by_chance"] / total["picks"]


def rows(jobs: Sequence[Job], rare: Sequence[str]) -> list[dict[str, Any]]:
    """Every record there is, whole run or not, as rows of a CSV file."""
    found = []
    for job in jobs:
        for one in load_records(job.records):
            known = [v for c in rare if (v := one.per_class.get(c)) is not None]
            found.append(
                {
                    "arm": one.arm,
                    "seed": one.seed,
                    "iteration": one.iteration,
                    "images": one.images,
                    "boxes": one.boxes,
                    "minutes": round(one.minutes, 3),
                    "metric": one.metric,
                    "rare": sum(known) / len(known) if known else None,
                    "retrained": ";".join(map(repr, one.retrained)),
                    "targeted_picks": one.targeted.get("picks"),
                    "targeted_held": one.targeted.get("held"),
                    "targeted_by_chance": one.targeted.get("by_chance"),
                    "seconds": one.seconds,
                }
            )
    return found
