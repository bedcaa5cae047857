"""What the step on a FiftyOne dataset says to people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from annoloop.render_text import table
from annoloop.results_fiftyone import (
    IterationResult,
    PluginResult,
    PoolProgress,
    ProgressResult,
    SyncResult,
)

SHOWN = 20


def golden_line(entry: Mapping[str, Any]) -> str:
    """One entry of `golden_qa_history`."""
    top = ", ".join(f"{name} {n}" for name, n in entry["top_classes"].items()) or "none"
    return (
        f"golden {entry['iteration']}: {entry['samples_with_labels']} samples with labels, "
        f"{entry['total_detections']} boxes (most: {top})"
    )


def pool_line(pool: PoolProgress) -> str:
    shown = ", ".join(
        f"{getattr(pool, name)} {name} ({pool.percent[name]:g} %)" for name in pool.percent
    )
    return f"pool: {pool.total} samples: {shown}"


def summary(r: IterationResult) -> list[str]:
    """Golden statistics, the batch and the pool, a line each; then what there is to know."""
    taken = "would be" if r.dry_run else "is"
    sources = ", ".join(f"{n} {source}" for source, n in r.by_source.items())
    return [
        golden_line(r.golden),
        f"batch {r.batch} {taken} {r.size} samples ({sources}), saved view {r.view}",
        pool_line(r.progress),
        *(f"note: {note}" for note in r.notes),
        *(f"short: {s.source} got {s.got} of {s.asked} ({s.why})" for s in r.shortfalls),
    ]


def _page(r: IterationResult) -> list[str]:
    body = [(p.filepath, p.source, p.rank, p.score, p.reason) for p in r.picks[:SHOWN]]
    lines = [*summary(r), "", *table(("file", "source", "rank", "score", "why"), body)]
    if len(r.picks) > SHOWN:
        lines.append(f"… and {len(r.picks) - SHOWN} more (all with --json)")
    return lines


def standing(r: ProgressResult) -> list[str]:
    """The pool, its batches and golden statistics, a line each."""
    return [
        pool_line(r.pool),
        *(f"batch {b.batch}: {b.size} samples, {b.waiting} still to annotate" for b in r.batches),
        *(golden_line(one) for one in r.golden),
    ]


def _sync(r: SyncResult) -> list[str]:
    pushed = ", ".join(f"{n} {what}" for what, n in r.changed.items() if n)
    lines = [f"{r.dataset}: {pushed or 'nothing to push, all is as it should be'}"]
    lines += [f"{what:<9} {', '.join(names)}" for what, names in _summaries(r) if names]
    lines += [f"changed there: {p.file}: {p.what} ({p.action})" for p in r.conflicts[:SHOWN]]
    if len(r.conflicts) > SHOWN:
        lines.append(f"… and {len(r.conflicts) - SHOWN} more (all with --json)")
    if r.to_ingest:
        lines.append(f"{r.to_ingest} samples of the open batch are answered: `annoloop ingest`")
    return [*lines, *(f"note: {note}" for note in r.notes)]


def _summaries(r: SyncResult) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("views", r.views), ("info", r.info)


def _plugin(r: PluginResult) -> list[str]:
    return [
        f"the plugin lies in {r.folder}",
        "restart the App: its operator browser (`) lists `annoloop: select the next batch`",
    ]


PAGES: dict[type, Callable[[Any], list[str]]] = {
    IterationResult: _page,
    ProgressResult: standing,
    PluginResult: _plugin,
    SyncResult: _sync,
}
