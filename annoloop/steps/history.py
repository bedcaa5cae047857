"""`history`: what was done and decided, when and by whom."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from annoloop.results_history import EventView, HistoryResult, IterationView, StepView
from annoloop.steps.context import Context
from annoloop.store import db, iterations
from annoloop.store.iterations import Iteration

LONGEST = 200
"""Characters of what a line of the log says."""

Record = Mapping[str, Any]


def history(context: Context, *, events: int) -> HistoryResult:
    """Iterations with their steps, and the newest `events` lines of the audit log."""
    metric = context.settings.stop.metric
    with context.store.read() as connection:
        done = iterations.load_iterations(connection)
        total, newest = db.newest_history(connection, events)
    return HistoryResult(
        iterations=tuple(_iteration(one, metric) for one in done),
        events=tuple(
            EventView(
                at=row["at"],
                who=row["who"],
                what=row["what"],
                target=row["target"],
                said=_details(row["details"]),
            )
            for row in newest
        ),
        events_in_all=total,
    )


def _iteration(one: Iteration, metric: str) -> IterationView:
    steps = sorted(one.steps.values(), key=lambda step: step.seq)
    views = (
        StepView(s.step, s.at, s.who, SAID[s.step](s.record, metric) if s.step in SAID else "")
        for s in steps
    )
    return IterationView(one.name, one.batch, one.opened_at, tuple(views))


def _counts(found: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {name}" for name, number in found.items() if number) or "none"


def _golden(record: Record, _metric: str) -> str:
    accepted = f"; accepted: {record['accepted']}" if record.get("accepted") else ""
    return f"{record['verdict']}: {record['reason']}{accepted}"


def _trained(record: Record, _metric: str) -> str:
    seconds = float(record["seconds"])
    images, boxes = record["images"], record["boxes"]
    return f"{record['trainer']} on {images:,} images, {boxes:,} boxes, in {seconds:.1f} s"


def _evaluated(record: Record, metric: str) -> str:
    value = ((record.get("gauge") or {}).get("summary") or {}).get(metric)
    measured = "nothing to measure on gauge" if value is None else f"{metric} {value:.3f} on gauge"
    return f"{measured}; failures: {_counts(record.get('failures') or {})}"


SAID: Mapping[str, Callable[[Record, str], str]] = {
    "select": lambda r, _: (
        f"{r['size']:,} images: {_counts(r['by_source'])}" if "size" in r else "adopted"
    ),
    "annotate": lambda r, _: (
        (
            f"{r['annotated']:,} annotated ({r['empty']:,} empty), {r['pending']:,} pending, "
            f"{r['skipped']:,} skipped; {r['boxes']:,} boxes"
        )
        if "annotated" in r
        else "adopted"
    ),
    "golden": _golden,
    "train": _trained,
    "folds": lambda r, _: (
        f"{r['folds']} models predicted {r['images']:,} annotated images that they had not seen"
    ),
    "evaluate": _evaluated,
    "decide": lambda r, _: str(r["reason"]),
}
"""Step → its record in a sentence."""


def _details(found: Record) -> str:
    """The short values of a line; long ones stand in the database and in the iteration above."""
    parts = (f"{name} {_short(value)}" for name, value in found.items() if _short(value))
    return textwrap.shorten(", ".join(parts), LONGEST, placeholder=" …")


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        plain = all(isinstance(one, int | float | str) for one in value.values())
        return f"({', '.join(f'{k} {_short(v)}' for k, v in value.items())})" if plain else ""
    if isinstance(value, list):
        return " ".join(map(str, value[:5])) + (" …" if len(value) > 5 else "")
    return f"{value:g}" if isinstance(value, float) else str(value)
