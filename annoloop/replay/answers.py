"""The answers of a replay from its records: comparisons, labels saved, verdicts, and the files."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from statistics import median

import numpy as np

from annoloop import durable
from annoloop.core import replay_stats as stats
from annoloop.errors import TrainerError
from annoloop.replay import outcomes as tables
from annoloop.replay.engine import failures
from annoloop.replay.outcomes import AXES, Run, Table
from annoloop.replay.plan import ArmPlan, Plan
from annoloop.replay.runs import Job, is_whole
from annoloop.replay.verdicts import POINT, headline, incumbent, judge, recommend
from annoloop.results_replay import (
    ArmAnswer,
    Comparison,
    CurvePoint,
    NoiseFloor,
    Reach,
    ReplayResult,
)

OUTCOMES = (*AXES, "final", "test", "rare", "rare final")
SHARE = 0.9


def answer(plan: Plan, jobs: Sequence[Job], folder: Path, *, seconds: float) -> ReplayResult:
    """Read all records and write page, JSON, CSV and TOML beside them."""
    whole = {place: is_whole(job) for place, job in enumerate(jobs)}
    done = tables.whole_runs(jobs, whole=whole)
    runs = [run for run in done if not run.job.whole_pool]
    names = {run.job.arm.name for run in runs}
    failed = failures(jobs)
    if plan.baseline not in names:
        why = f": {failed[0].why}" if failed else ""
        raise TrainerError(
            f"no run of the baseline {plan.baseline} reached its budget{why}",
            fix="Mend what failed and run the same command again: whole runs are kept.",
        )
    rare = tables.rare_classes(plan, jobs[0].world.boxes)
    table = tables.outcomes(runs, rare)
    full = {run.job.seed: run.metric()[-1] for run in done if run.job.whole_pool}
    primary = "images" if plan.budget_images is not None else "boxes"
    compared = compare(table, against=plan.baseline, primary=primary)
    drawn = {axis: tables.curves(runs, axis) for axis in AXES}
    arms = [
        replace(
            _arm(plan, arm, runs, table=table, levels=_levels(plan, runs, full)),
            curves={a: tuple(CurvePoint(*row) for row in drawn[a][arm.name]) for a in AXES},
        )
        for arm in plan.arms
        if arm.name in names
    ]
    main = {one.arm: one for one in compared if one.outcome == primary}
    arms = [_judged(arm, main.get(arm.name), plan) for arm in arms]
    against = compare(table, against=incumbent(plan, arms).name, primary=primary)
    held = {one.arm: one for one in against if one.outcome == primary}
    seeds = paired_seeds(runs)
    files = {n: str(folder / f"replay.{n}") for n in ("html", "json", "toml")}
    files |= {n: str(folder / f"{n}.csv") for n in ("records", "comparisons")}
    result = ReplayResult(
        name=plan.name,
        metric=plan.metric,
        baseline=plan.baseline,
        seeds=seeds,
        budget=_budget(plan),
        headline=headline(arms, plan.baseline, len(seeds)),
        arms=tuple(arms),
        comparisons=tuple(compared),
        noise=noise_floor(runs, plan.baseline),
        full_metric=sum(full.values()) / len(full) if full else None,
        rare=rare,
        recommendation=recommend(plan, arms, held),
        failed=failed,
        seconds=round(seconds, 1),
        files=files,
        notes=_notes(plan, jobs, whole),
    )
    _write(result, jobs)
    return result


def paired_seeds(runs: Sequence[Run]) -> tuple[int, ...]:
    """The seeds that every arm has finished; all that any has, if there is none of these."""
    by_arm: dict[str, set[int]] = {}
    for run in runs:
        by_arm.setdefault(run.job.arm.name, set()).add(run.job.seed)
    return tuple(sorted(set.intersection(*by_arm.values()) or set.union(*by_arm.values())))


def _budget(plan: Plan) -> str:
    if plan.budget_images is not None:
        return f"{plan.budget_images:,} images"
    return f"{plan.budget_boxes:,} boxes"


def compare(table: Table, *, against: str, primary: str) -> list[Comparison]:
    """Every arm against one, in every outcome, over the seeds that both have."""
    found = []
    for outcome in OUTCOMES:
        base = table.get(outcome, {}).get(against, {})
        rows = []
        for arm, values in table.get(outcome, {}).items():
            seeds = sorted(values.keys() & base.keys())
            if arm != against and seeds:
                rows.append(_compared(outcome, arm, against, [values[s] - base[s] for s in seeds]))
        if outcome == primary:
            adjusted = stats.holm([one.p for one in rows])
            rows = [
                replace(
                    one,
                    p_adjusted=p,
                    least_p=min(1.0, one.least_p * len(rows)),
                    fewest_seeds=stats.fewest_seeds(stats.ALPHA / len(rows)),
                )
                for one, p in zip(rows, adjusted, strict=True)
            ]
        found += rows
    return found


def _compared(outcome: str, arm: str, against: str, differences: Sequence[float]) -> Comparison:
    one = stats.paired(differences, rng=np.random.default_rng(0))
    needed = None if one.sd is None else stats.seeds_needed(one.sd, POINT)
    return Comparison(
        outcome=outcome,
        arm=arm,
        against=against,
        seeds=one.seeds,
        mean=one.mean,
        low=one.low,
        high=one.high,
        p=one.p,
        p_adjusted=None,
        least_p=one.least_p,
        fewest_seeds=stats.fewest_seeds(stats.ALPHA),
        seeds_for_one_point=needed,
    )


def noise_floor(runs: Sequence[Run], baseline: str) -> NoiseFloor | None:
    """From the baseline's batches, trained again with other seeds."""
    finals, areas = [], []
    seeds = set()
    for run in runs:
        again = min((len(one.retrained) for one in run.records), default=0)
        if run.job.arm.name != baseline or not again:
            continue
        seeds.add(run.job.seed)
        images = run.axis("images")
        stretch = {"low": images[0], "high": images[-1]}
        for number in range(again):
            other = [one.retrained[number] for one in run.records]
            finals.append((run.metric()[-1], other[-1]))
            areas.append(
                (stats.area(images, run.metric(), **stretch), stats.area(images, other, **stretch))
            )
    if not finals:
        return None
    return NoiseFloor(
        pairs=len(finals),
        seeds=len(seeds),
        final_sd=stats.retraining_sd(*zip(*finals, strict=True)),
        area_sd=stats.retraining_sd(*zip(*areas, strict=True)),
        gap=sum(abs(a - b) for a, b in areas) / len(areas),
    )


Levels = dict[str, dict[int, float]]
"""Name of a level → seed → the metric to be reached."""


def _levels(plan: Plan, runs: Sequence[Run], full: Mapping[int, float]) -> Levels:
    last = {r.job.seed: r.metric()[-1] for r in runs if r.job.arm.name == plan.baseline}
    found = {f"the final metric of {plan.baseline}": last}
    if full:
        found["90 % of training on the whole pool"] = {s: SHARE * v for s, v in full.items()}
    return found


def _arm(
    plan: Plan, arm: ArmPlan, runs: Sequence[Run], *, table: Table, levels: Levels
) -> ArmAnswer:
    mine = [run for run in runs if run.job.arm.name == arm.name]
    base = {r.job.seed: r for r in runs if r.job.arm.name == plan.baseline}

    def mean(outcome: str) -> float | None:
        values = table.get(outcome, {}).get(arm.name, {}).values()
        return sum(values) / len(values) if values else None

    held, chance = tables.targeted(mine)
    return ArmAnswer(
        name=arm.name,
        mix=dict(arm.mix),
        batch=plan.size_of(arm),
        seeds=len(mine),
        area=mean("images") or 0.0,
        final=mean("final") or 0.0,
        test=mean("test"),
        rare_area=mean("rare"),
        rare_final=mean("rare final"),
        images=sum(run.records[-1].images for run in mine) / len(mine),
        boxes=sum(run.records[-1].boxes for run in mine) / len(mine),
        curves={},
        reach=tuple(_reach(level, at, mine, base=base) for level, at in levels.items()),
        targeted_held=held,
        targeted_chance=chance,
        verdict="",
        better=None,
    )


def _reach(
    level: str, at: Mapping[int, float], mine: Sequence[Run], *, base: Mapping[int, Run]
) -> Reach:
    runs = [run for run in mine if run.job.seed in at]
    first = {
        axis: [stats.first_reach(r.axis(axis), r.metric(), at[r.job.seed]) for r in runs]
        for axis in AXES
    }
    saved = []
    for run, images in zip(runs, first["images"], strict=True):
        other = base.get(run.job.seed)
        if other is not None:
            spent = other.axis("images")
            theirs = stats.first_reach(spent, other.metric(), at[run.job.seed])
            # Neither reached it: nothing is known of that seed, and nothing is counted as saved.
            both = math.isinf(images) and math.isinf(theirs)
            saved.append(0.0 if both else 1 - images / min(theirs, spent[-1]))
    middle = {axis: _finite(median(v)) if v else None for axis, v in first.items()}
    return Reach(
        level=level,
        reached=sum(math.isfinite(v) for v in first["images"]),
        seeds=len(runs),
        saved=_finite(median(saved)) if saved else None,
        **middle,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _judged(arm: ArmAnswer, one: Comparison | None, plan: Plan) -> ArmAnswer:
    if one is None:
        return replace(arm, verdict="the baseline")
    better, verdict = judge(one, plan.metric)
    return replace(arm, better=better, verdict=verdict)


def _notes(plan: Plan, jobs: Sequence[Job], whole: Mapping[int, bool]) -> tuple[str, ...]:
    notes = []
    missing = sum(not one for one in whole.values())
    if missing:
        notes.append(f"{missing} of {len(jobs)} runs are not whole and are left out")
    if plan.oracle.errs:
        kinds = {k: v for k, v in plan.oracle.model_dump().items() if v}
        said = ", ".join(f"{kind} {share:g}" for kind, share in kinds.items())
        notes.append(f"the oracle errs in what is trained on ({said}); gauge and test stay clean")
    return tuple(notes)


def _write(result: ReplayResult, jobs: Sequence[Job]) -> None:
    from annoloop.report.replay_page import render_replay

    texts = {
        "html": render_replay(result),
        "json": json.dumps(asdict(result), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        "toml": result.recommendation.toml,
        "records": _csv(tables.rows(jobs, result.rare)),
        "comparisons": _csv([asdict(one) for one in result.comparisons])
        if result.comparisons
        else ",".join(f.name for f in fields(Comparison)) + "\n",
    }
    for name, text in texts.items():
        with durable.named(Path(result.files[name])):
            durable.write_text(Path(result.files[name]), text)


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
