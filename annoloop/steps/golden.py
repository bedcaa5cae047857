"""`golden stats`, `check`, `baseline`: statistics of every iteration, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from sqlalchemy import Connection

from annoloop.core import golden, golden_check
from annoloop.core.control import LookPlan
from annoloop.errors import GoldenError, NotReadyError
from annoloop.records import GoldenVerdict, Reference, Split
from annoloop.results_golden import GoldenCheckResult, GoldenStatsResult
from annoloop.steps import passes
from annoloop.steps.context import Context, require_batch_closed
from annoloop.store import batches, db, iterations, samples
from annoloop.store.iterations import Iteration, StepRecord

LOOK = "golden"


def stats(context: Context) -> GoldenStatsResult:
    """Golden statistics now and at each closed batch, with the errors against today's reference."""
    with context.store.read() as connection:
        current = batch_statistics(connection)
        known = samples.newest_references(connection, split=Split.GOLDEN)
        done = [one for one in iterations.load_iterations(connection) if "annotate" in one.steps]
        history = tuple(_history_entry(connection, one, known) for one in done)
    return GoldenStatsResult(current, history)


def _history_entry(
    connection: Connection, iteration: Iteration, known: Mapping[str, Reference]
) -> dict[str, Any]:
    """Counts as they were when the batch was closed; errors anew, since references change."""
    answers = passes.blind_pass(connection, iteration)
    reference = {key: known[key].labels for key in answers if key in known}
    errors = golden.tolerance_check(reference, answers)
    checked = iteration.steps.get("golden")
    return {
        "iteration": iteration.number,
        "batch": iteration.batch,
        **iteration.steps["annotate"].record.get("golden_statistics", {}),
        "verdict": None if checked is None else checked.record["verdict"],
        "images_compared": errors.images,
        "reference_boxes": errors.boxes,
        "missed": errors.missed,
        "spurious": errors.spurious,
        "confused": errors.confused,
        "alarm": _alarms(checked),
    }


def _alarms(checked: StepRecord | None) -> dict[str, float | None]:
    """Error type → the rate from which that check would have failed, where it could."""
    if checked is None:
        return {}
    errors = checked.record["numbers"]["errors"]
    return {kind: one.get("alarm_rate") for kind, one in errors.items()}


def batch_statistics(connection: Connection) -> dict[str, Any]:
    """Counts over the newest human answer of each golden sample; references never enter here."""
    everyone = samples.load(connection, split=Split.GOLDEN)
    newest = batches.newest(batches.load_annotations(connection, split=Split.GOLDEN))
    labels = {key: one.labels for key, one in newest.items() if one.answer in passes.ANSWERED}
    found = golden.statistics(labels, len(everyone), classes=samples.schema(connection).classes)
    return asdict(found)


def check(context: Context, *, accept: str | None = None) -> GoldenCheckResult:
    """Test the blind golden answers of the newest closed batch; the permutation test decides."""
    with context.store.read() as connection:
        iteration = require_batch_closed(iterations.newest_iteration(connection))
        if accept is None:
            gathered = passes.gather(connection, iteration)
            look = _look_number(connection, iteration)
            classes = samples.schema(connection).classes
    if accept is not None:
        return _accept(context, iteration, accept)
    settings = context.settings.golden
    plan = LookPlan(looks=None if settings.looks == "open" else settings.looks)
    report = golden_check.check(
        gathered,
        classes=classes,
        terms=golden_check.Terms(plan=plan, look=look, tolerance=settings.tolerance),
        rng=np.random.default_rng([context.settings.select.seed, iteration.number, 3]),
    )
    numbers = {k: v for k, v in asdict(report).items() if k not in {"verdict", "reason"}}
    record = {"verdict": str(report.verdict), "reason": report.reason, "numbers": numbers}
    _write(context, iteration, record, look=look if report.tested else None)
    return GoldenCheckResult(iteration.name, str(report.verdict), report.reason, None, numbers)


def _look_number(connection: Connection, iteration: Iteration) -> int:
    """Which look this is, counted since the last qualification pass; a repeat is the same look."""
    epoch = len(passes.baseline_passes(connection))
    spent = iterations.look_records(connection, LOOK)
    earlier = {one["iteration"] for one in spent if one["passes"] == epoch} - {iteration.number}
    return len(earlier) + 1


def _accept(context: Context, iteration: Iteration, why: str) -> GoldenCheckResult:
    if "golden" not in iteration.steps:
        raise NotReadyError(
            f"{iteration.name} has no golden check to accept", fix="Run `annoloop golden check`."
        )
    before = dict(iteration.steps["golden"].record)
    if before["verdict"] != GoldenVerdict.FAIL:
        raise GoldenError(
            f"the golden check of {iteration.name} is {before['verdict']}, not fail",
            fix="There is nothing to accept; go on with `annoloop train`.",
        )
    if not why.strip():
        raise GoldenError("an acceptance needs a reason", fix='Write it: `--accept "why"`.')
    _write(context, iteration, {**before, "accepted": why})
    return GoldenCheckResult(
        iteration.name, str(before["verdict"]), str(before["reason"]), why, before["numbers"]
    )


def _write(
    context: Context, iteration: Iteration, record: Mapping[str, Any], *, look: int | None = None
) -> None:
    with context.store.write() as connection:
        at = context.now()
        if look is not None:
            epoch = len(passes.baseline_passes(connection))
            db.look(
                connection,
                what=LOOK,
                iteration=iteration.number,
                who=context.who,
                at=at,
                details={"iteration": iteration.number, "passes": epoch, "look": look},
            )
        iterations.add_step(
            connection, iteration.number, "golden", at=at, who=context.who, record=record
        )
        db.record(
            connection,
            at=at,
            who=context.who,
            what="golden check" if "accepted" not in record else "golden accept",
            target=iteration.name,
            details={k: v for k, v in record.items() if k != "numbers"},
        )


def ensure_checked(context: Context) -> Iteration:
    """The newest iteration with its golden check done; a fail that nobody accepted raises."""
    with context.store.read() as connection:
        iteration = require_batch_closed(iterations.newest_iteration(connection))
    if "golden" not in iteration.steps:
        context.say(f"golden check of {iteration.name} has not run: running it")
        check(context)
        with context.store.read() as connection:
            iteration = require_batch_closed(iterations.newest_iteration(connection))
    record = iteration.steps["golden"].record
    if record["verdict"] == GoldenVerdict.FAIL and not record.get("accepted"):
        raise GoldenError(
            f"the golden check of {iteration.name} failed: {record['reason']}",
            fix="Correct the batch's labels (`annoloop batch make --kind relabel --of "
            f'{iteration.batch}`), then say so: `annoloop golden check --accept "relabelled"`.',
        )
    return iteration
