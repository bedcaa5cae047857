"""`status`: where the loop stands and what is next to do; counts come from the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from annoloop.records import Split, Status
from annoloop.results import IterationRow, PoolProgress, StatusResult
from annoloop.steps.context import Context
from annoloop.steps.guide import next_step
from annoloop.steps.summary import summaries
from annoloop.store import iterations, samples
from annoloop.store.iterations import Iteration


def status(context: Context) -> StatusResult:
    """The progress summary. Under a second on a million samples: no sample is read."""
    with context.store.read() as connection:
        counts = samples.counts(connection)
        classes = samples.schema(connection).classes
        all_batches = summaries(connection)
        history = iterations.load_iterations(connection)
        val_labeled = bool(history) or samples.has_references(connection, Split.VAL)
        opened = iterations.looks_at(connection, iterations.TEST_LOOK)
    metric = context.settings.stop.metric
    rows = tuple(iteration_row(one, metric) for one in history)
    open_batch = next((b.name for b in reversed(all_batches) if b.open), None)
    by_split: dict[str, int] = {}
    for (side, _), number in counts.items():
        key = str(side) if side is not None else "none"
        by_split[key] = by_split.get(key, 0) + number
    return StatusResult(
        project=str(context.folder),
        samples=sum(counts.values()),
        splits=by_split,
        pool=_pool(counts),
        classes=classes,
        batches=tuple(all_batches),
        iterations=rows,
        metric=metric,
        target=context.settings.stop.target,
        open_batch=open_batch,
        next_step=next_step(
            history, all_batches, counts, val_labeled=val_labeled, classes=bool(classes)
        ),
        golden=next((r.golden for r in reversed(rows) if r.golden), None),
        golden_reason=_golden_reason(history),
        verdict=next((r.verdict for r in reversed(rows) if r.verdict), None),
        test_opened=opened,
        decided=_decided(history),
    )


def _decided(history: list[Iteration]) -> Mapping[str, Any] | None:
    done = next((one for one in reversed(history) if "decide" in one.steps), None)
    return None if done is None else done.steps["decide"].record["numbers"]


def _golden_reason(history: list[Iteration]) -> str | None:
    checked = next((one for one in reversed(history) if "golden" in one.steps), None)
    if checked is None:
        return None
    record = checked.steps["golden"].record
    accepted = f"; accepted: {record['accepted']}" if record.get("accepted") else ""
    return f"{checked.name} {record['verdict']}: {record['reason']}{accepted}"


def _pool(counts: Mapping[tuple[Split | None, Status], int]) -> PoolProgress:
    number = {one: counts.get((Split.POOL, one), 0) for one in Status}
    total = sum(number.values())

    def percent(one: Status) -> float:
        return round(100 * number[one] / total, 1) if total else 0.0

    return PoolProgress(
        total=total,
        annotated=number[Status.ANNOTATED],
        selected=number[Status.SELECTED],
        unlabeled=number[Status.UNLABELED],
        pending=number[Status.PENDING],
        skipped=number[Status.SKIPPED],
        annotated_percent=percent(Status.ANNOTATED),
        selected_percent=percent(Status.SELECTED),
        unlabeled_percent=percent(Status.UNLABELED),
    )


def iteration_row(one: Iteration, metric: str) -> IterationRow:
    """One line of the table of iterations, from the newest record of each step."""
    record: dict[str, Mapping[str, Any]] = {name: s.record for name, s in one.steps.items()}
    evaluated = record.get("evaluate", {})
    gauge = (evaluated.get("gauge") or {}).get("summary", {})
    val = (evaluated.get("val") or {}).get("summary", {})
    trained = record.get("train", {})
    golden = record.get("golden", {})
    decided = record.get("decide", {})
    return IterationRow(
        name=one.name,
        images=int(trained.get("images", 0)),
        boxes=int(trained.get("boxes", 0)),
        batch=record.get("select", {}).get("by_source", {}),
        metric=gauge.get(metric),
        ap=gauge.get("AP"),
        ap_val=val.get("AP"),
        failures=evaluated.get("failures", {}),
        golden=golden.get("verdict"),
        verdict=decided.get("verdict"),
        reason=decided.get("reason"),
        seconds=float(trained.get("seconds", 0.0)),
    )
