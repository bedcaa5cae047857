"""Results as text for people and as JSON for programs; progress bars on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from typing import Any

from annoloop import (
    render_fiftyone,
    render_history,
    render_models,
    render_replay,
    results,
    results_batches,
    results_golden,
)
from annoloop.ports import Progress, silent
from annoloop.render_text import SHOWN, counted, table
from annoloop.render_text import cell as _cell
from annoloop.render_text import percent as _percent
from annoloop.render_text import value as _value


def to_json(result: Any) -> str:
    """One JSON document; NaN does not occur, an undefined number is null."""
    return json.dumps(asdict(result), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def to_text(result: Any) -> str:
    """What a person reads: a page of its own where there is one, plain `key  value` otherwise."""
    page = PAGES.get(type(result))
    lines = page(result) if page is not None else _plain(result)
    return counted("\n".join(lines) + "\n")


def _plain(result: Any) -> list[str]:
    shown = []
    width = max(len(f.name) for f in fields(result))
    for field in fields(result):
        value = getattr(result, field.name)
        if value is None or value in ((), {}):
            continue
        shown.append(f"{field.name.replace('_', ' '):<{width}}  {_value(value)}")
    return shown


def iterations_table(rows: Sequence[results.IterationRow], metric: str) -> list[str]:
    """The table of iterations: labels, metric, batch by source, golden, verdict."""
    header = ("iteration", "images", "boxes", metric, "AP", "AP val", "batch", "golden", "verdict")
    body = [
        (
            row.name,
            row.images,
            row.boxes,
            row.metric,
            row.ap,
            row.ap_val,
            " + ".join(f"{n} {source}" for source, n in row.batch.items()) or None,
            row.golden,
            row.verdict,
        )
        for row in rows
    ]
    return table(header, body)


def _status(r: results.StatusResult) -> list[str]:
    pool = r.pool
    sides = ", ".join(f"{name} {n}" for name, n in sorted(r.splits.items()))
    lines = [
        f"project   {r.project}",
        f"samples   {r.samples} ({sides})",
        f"pool      {pool.total}: {pool.annotated} annotated ({pool.annotated_percent} %), "
        f"{pool.selected} selected ({pool.selected_percent} %), "
        f"{pool.unlabeled} still unlabeled ({pool.unlabeled_percent} %), "
        f"{pool.pending} pending, {pool.skipped} skipped",
    ]
    if r.batches:
        header = ("batch", "kind", "state", "images", "answered", "by source")
        body = [
            (
                b.name,
                b.kind,
                "open" if b.open else "closed",
                b.size,
                b.answered,
                _value(b.by_source),
            )
            for b in r.batches
        ]
        lines += ["", *table(header, body)]
    if r.iterations:
        lines += ["", *iterations_table(r.iterations, r.metric)]
        reason = next((row.reason for row in reversed(r.iterations) if row.reason), None)
        golden = f"golden check of {r.golden_reason}" if r.golden_reason else None
        lines += ["", *(text for text in (reason, golden) if text)]
    return [*lines, "", f"next      {r.next_step}"]


def _select(r: results_batches.SelectResult) -> list[str]:
    what = "would be" if r.dry_run else "is"
    lines = [
        f"batch {r.batch} {what} {r.size} images ({_value(r.by_source)}), seed {r.seed}; "
        f"{r.blind_golden} blind golden on top",
        *(f"note: {note}" for note in r.notes),
        *(f"short: {_value(s)}" for s in r.shortfalls),
        *([f"differs: {_value(r.summary)}"] if r.summary else []),
        *_chosen_by(r.embedder),
        "",
        *_picks(r.picks),
    ]
    if not r.dry_run:
        lines += ["", f"next: annoloop batch export {r.batch} OUT --to coco"]
    return lines


def _chosen_by(embedder: str | None) -> list[str]:
    return [f"chosen by {embedder} vectors"] if embedder else []


def _picks(picks: Sequence[results_batches.PickView]) -> list[str]:
    body = [(p.path, p.source, p.rank, p.score, p.reason) for p in picks[:SHOWN]]
    lines = table(("image", "source", "rank", "score", "why"), body)
    if len(picks) > SHOWN:
        lines.append(f"… and {len(picks) - SHOWN} more (all with --json)")
    return lines


def _show(r: results_batches.BatchShowResult) -> list[str]:
    b = r.batch
    state = "open" if b.open else f"closed {b.closed_at}"
    return [
        f"batch {b.name} ({b.kind}), {state}: {b.size} images ({_value(b.by_source)}), "
        f"{b.answered} answered",
        *(f"note: {note}" for note in r.notes),
        *(f"short: {_value(s)}" for s in r.shortfalls),
        *_chosen_by(r.embedder),
        "",
        *_picks(r.picks),
    ]


def _batches(r: results_batches.BatchListResult) -> list[str]:
    header = ("batch", "kind", "state", "images", "answered", "by source")
    body = [
        (b.name, b.kind, "open" if b.open else "closed", b.size, b.answered, _value(b.by_source))
        for b in r.batches
    ]
    return table(header, body)


def _run(r: results.RunResult) -> list[str]:
    return [
        *iterations_table(r.rows, r.metric),
        "",
        f"{r.iterations} iterations; stopped because {r.stopped_because}",
        f"next: {r.next_step}",
    ]


def _demo(r: results.DemoResult) -> list[str]:
    return [
        *iterations_table(r.rows, "AP50"),
        "",
        f"project  {r.project} (batch {r.open_batch} is open and unlabelled)",
        f"page     {r.report}",
        f"took     {r.seconds:.0f} s",
    ]


def _close(r: results_batches.CloseResult) -> list[str]:
    return [
        f"batch {r.batch} is closed: {r.annotated} annotated ({r.empty} of them empty), "
        f"{r.pending} pending, {r.skipped} skipped, {r.boxes} boxes",
        *(f"note: {note}" for note in r.notes),
    ]


def _golden_stats(r: results_golden.GoldenStatsResult) -> list[str]:
    now = r.current
    lines = [
        f"golden set: {now['samples']} images, {now['samples_with_labels']} answered with boxes, "
        f"{now['samples_empty']} as empty, {now['total_detections']} boxes",
        f"most frequent: {_value(now['top_classes'])}",
    ]
    header = ("batch", "verdict", "images", "boxes", "missed", "spurious", "confused")
    kinds = ("missed", "spurious", "confused")
    columns = ("batch", "verdict", "images_compared", "reference_boxes")
    body = [
        (*(h[column] for column in columns), *(_percent(h[kind]) for kind in kinds))
        for h in r.history
    ]
    return [*lines, "", *table(header, body)] if body else lines


def _golden_prelabels(r: results_golden.GoldenPrelabelsResult) -> list[str]:
    lines = [f"prelabels: {r.verdict}", r.reason]
    header = ("batch", "model", "given", "blank", "answered given", "answered blank")
    body: list[tuple[object, ...]] = [
        (b.batch, b.model, b.given, b.blank, b.answered_given, b.answered_blank) for b in r.batches
    ]
    if not body:
        return lines
    lines += ["", *table(header, body), ""]
    header = ("measure", "given", "blank", "difference", "95 % interval", "p")
    body = [
        (
            name,
            one["given"],
            one["blank"],
            one["difference"],
            "{:+.3f} to {:+.3f}".format(*one["interval"]) if one["interval"] else "too few",
            _p(one["p_value"]),
        )
        for name, one in r.measures.items()
        if one["images_given"] or one["images_blank"]
    ]
    return [*lines, *table(header, body)] if body else lines[:-1]


def _golden_check(r: results_golden.GoldenCheckResult) -> list[str]:
    numbers = r.numbers
    lines = [f"golden check of {r.iteration}: {r.verdict}", r.reason]
    if r.accepted:
        lines.append(f"accepted: {r.accepted}")
    lines += [f"what to do: {numbers['action']}. {numbers['advice']}"]
    lines += [f"changed: {text}" for text in numbers["changed"]]
    header = ("errors", "count", "rate", "before", "p", "fails at p ≤")
    body = [
        (kind, e["count"], _percent(e["rate"]), _percent(e["usual"]), e["p_value"], e["alpha"])
        for kind, e in numbers["errors"].items()
    ]
    lines += ["", *table(header, body)]
    worst = [(i["image"], i["missed"], i["spurious"], i["confused"]) for i in numbers["images"]]
    if worst:
        lines += ["", *table(("image", "missed", "spurious", "confused"), worst[:SHOWN])]
    return [*lines, *(f"note: {note}" for note in numbers["notes"])]


def _doctor(r: results.DoctorResult) -> list[str]:
    lines = [f"annoloop {r.version}"]
    lines += [f"{'ok ' if c.ok else 'NO '} {c.name:<24} {c.found}" for c in r.checks]
    lines += [f"fix {c.name}: {c.fix}" for c in r.checks if not c.ok]
    return [*lines, *(f"{kind:<12} {', '.join(found)}" for kind, found in r.adapters.items())]


def _init(r: results.InitResult) -> list[str]:
    where = f"project {r.project}"
    verb = "status" if r.split else "split"
    return [where, *_plain(r.ingest), f"next: annoloop {verb} --project {r.project}"]


def _golden_files(r: results_golden.GoldenFilesResult) -> list[str]:
    header = ("error", "count", "rate", "usual", "p", "level")
    body = [
        (kind, one["count"], one["rate"], one["usual"], _p(one["p_value"]), _p(one["alpha"]))
        for kind, one in r.errors.items()
    ]
    said = r.agreement
    scores = ", ".join(f"{name} {_cell(said[name])}" for name in ("f1", "precision", "recall"))
    worst = ", ".join(str(one["image"]) for one in r.images[:5])
    return [
        f"{r.verdict}: {r.reason}",
        f"to do: {r.action}. {r.advice}",
        "",
        *table(header, body),
        "",
        f"agreement  {scores}",
        *(f"changed    {one}" for one in r.changed),
        *([f"worst      {worst}"] if worst else []),
        *(f"note       {one}" for one in r.notes),
    ]


def _p(value: float | None) -> str | None:
    return None if value is None else f"{value:.2g}"


PAGES: dict[type, Callable[[Any], list[str]]] = {
    results.InitResult: _init,
    results.StatusResult: _status,
    results_batches.SelectResult: _select,
    results_batches.BatchShowResult: _show,
    results_batches.BatchListResult: _batches,
    results.RunResult: _run,
    results.DemoResult: _demo,
    results.DoctorResult: _doctor,
    results_batches.CloseResult: _close,
    results_golden.GoldenStatsResult: _golden_stats,
    results_golden.GoldenCheckResult: _golden_check,
    results_golden.GoldenPrelabelsResult: _golden_prelabels,
    results_golden.GoldenFilesResult: _golden_files,
    **render_models.PAGES,
    **render_replay.PAGES,
    **render_fiftyone.PAGES,
    **render_history.PAGES,
}


def progress_bar() -> Progress:
    """A progress line on stderr: redrawn on a terminal, silent in a pipe."""
    if not sys.stderr.isatty():
        return silent

    def show(done: int, total: int, what: str) -> None:
        share = done / total if total else 1.0
        bar = "█" * int(30 * share)
        end = "\n" if done >= total else ""
        sys.stderr.write(f"\r{what:<18} {bar:<30} {done}/{total}{end}")
        sys.stderr.flush()

    return show
