"""`status`: where the loop stands and what is next to do; counts come from the index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from annoloop.records import Split, Status
from annoloop.results import BatchSummary, IterationRow, PoolProgress, StatusResult
from annoloop.steps.context import Context
from annoloop.steps.summary import summaries
from annoloop.store import iterations, samples
from annoloop.store.iterations import Iteration

NEXT = {
    "annotate": "annotate batch {batch}, then `annoloop annotate close {batch}`",
    "golden": "`annoloop golden check`",
    "train": "`annoloop train`",
    "evaluate": "`annoloop evaluate`",
    "decide": "`annoloop decide`",
}


def status(context: Context) -> StatusResult:
    """The progress summary. Under a second on a million samples: no sample is read."""
    with context.store.read() as connection:
        counts = samples.counts(connection)
        classes = samples.schema(connection).classes
        all_batches = summaries(connection)
        history = iterations.load_iterations(connection)
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
        next_step=next_step(history, all_batches, counts),
        golden=rows[-1].golden if rows else None,
        verdict=next((r.verdict for r in reversed(rows) if r.verdict), None),
        test_opened=opened,
    )


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


def next_step(
    history: list[Iteration],
    all_batches: list[BatchSummary],
    counts: Mapping[tuple[Split | None, Status], int],
) -> str:
    """What a person should do next, in words, with the command."""
    if not counts:
        return "add images: `annoloop ingest`"
    if any(side is None for side, _ in counts):
        return "make the splits: `annoloop split`"
    waiting = next((b for b in all_batches if b.open and b.kind != "select"), None)
    if waiting is not None:
        return NEXT["annotate"].format(batch=waiting.name)
    if not history:
        return "choose the first batch: `annoloop select`"
    step = history[-1].next_step
    if step is not None:
        return NEXT[step].format(batch=history[-1].batch)
    verdict = str(history[-1].steps["decide"].record["verdict"])
    if verdict == "continue":
        return "choose the next batch: `annoloop select`"
    if verdict == "fix_labels":
        return "fix the labels that the golden check found, then `annoloop golden check`"
    return f"the loop says {verdict}: open the test split once, `annoloop evaluate --split test`"


def table(connection: Connection, metric: str) -> tuple[IterationRow, ...]:
    """The table of iterations."""
    return tuple(iteration_row(one, metric) for one in iterations.load_iterations(connection))
