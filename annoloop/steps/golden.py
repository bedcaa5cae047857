"""`golden stats` and `golden check`: statistics of every iteration, and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from annoloop.core import golden
from annoloop.errors import GoldenError, NotReadyError
from annoloop.records import Annotation, Answer, GoldenVerdict, Split
from annoloop.results import GoldenCheckResult, GoldenStatsResult
from annoloop.steps.context import Context, require_batch_closed
from annoloop.store import batches, db, iterations, samples
from annoloop.store.iterations import Iteration

ANSWERED = (Answer.COMPLETE, Answer.EMPTY)


def stats(context: Context) -> GoldenStatsResult:
    """Golden statistics now, and as they were when each batch was closed."""
    with context.store.read() as connection:
        current = batch_statistics(connection)
        closed = iterations.step_history(connection, "annotate")
    history = tuple(
        {"iteration": index, "batch": one.record.get("batch"), **one.record["golden_statistics"]}
        for index, one in enumerate(c for c in closed if "golden_statistics" in c.record)
    )
    return GoldenStatsResult(current, history)


def batch_statistics(connection: Connection) -> dict[str, Any]:
    """Counts over the newest human answer of each golden sample; references never enter here."""
    everyone = samples.load(connection, split=Split.GOLDEN)
    newest = batches.newest(batches.load_annotations(connection, split=Split.GOLDEN))
    labels = {key: one.labels for key, one in newest.items() if one.answer in ANSWERED}
    found = golden.statistics(labels, len(everyone), classes=samples.schema(connection).classes)
    return asdict(found)


def check(context: Context, *, accept: str | None = None) -> GoldenCheckResult:
    """Compare the blind golden answers of the newest closed batch with their reference."""
    with context.store.read() as connection:
        iteration = require_batch_closed(iterations.newest_iteration(connection))
    if accept is not None:
        return _accept(context, iteration, accept)
    with context.store.read() as connection:
        picks = batches.load_picks(connection, iteration.batch)
        blind = {pick.sample_id for pick, hidden in picks if hidden}
        newest = batches.newest(batches.load_annotations(connection, batch=iteration.batch))
        known = samples.newest_references(connection, ids=blind)
    answers = _answered(newest, blind)
    found = golden.tolerance_check(
        {key: one.labels for key, one in known.items() if key in answers},
        answers,
        tolerance=context.settings.golden.tolerance,
    )
    numbers = {k: v for k, v in asdict(found).items() if k not in {"verdict", "reason"}}
    record = {"verdict": str(found.verdict), "reason": found.reason, "numbers": numbers}
    _write(context, iteration, record)
    return GoldenCheckResult(iteration.name, str(found.verdict), found.reason, None, numbers)


def _answered(newest: Mapping[str, Annotation], blind: set[str]) -> dict[str, tuple[Any, ...]]:
    return {
        key: one.labels for key, one in newest.items() if key in blind and one.answer in ANSWERED
    }


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


def _write(context: Context, iteration: Iteration, record: Mapping[str, Any]) -> None:
    with context.store.write() as connection:
        at = context.now()
        iterations.add_step(
            connection, iteration.number, "golden", at=at, who=context.who, record=record
        )
        db.record(
            connection,
            at=at,
            who=context.who,
            what="golden check" if "accepted" not in record else "golden accept",
            target=iteration.name,
            details=record,
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
            fix='Fix the labels, or accept it: `annoloop golden check --accept "why"`.',
        )
    return iteration
